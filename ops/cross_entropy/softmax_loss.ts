/**
 * Softmax cross-entropy over the first dimension of a chunk of logits, [V, N], and its gradient in their place:
 *
 * loss_n = log sum_v exp(z_vn) - z_target(n)n, dz_vn = (exp(z_vn - top_n) / sum_n - onehot) / count.
 *
 * Threads run along the columns, each over a part of the vocabulary; a second kernel puts the parts together.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { f32, opaque, perThread, unroll } from "../../gpu/wgsl.ts";
import { perColumn } from "../rows.ts";
import { vectorType } from "../vector_type.ts";

/**
 * Vocabulary entries that one thread reduces: more on a GPU, where what the parts leave behind is read from memory.
 * A multiple of 4.
 */
const partSize = (g: Graph) => g.profile.isSoftware ? 32 : 64;

/** Records losses of some positions; with a gradient, the logits are replaced by it. */
export function softmaxLoss(g: Graph, options: {
  logits: Tensor; // [V, N]
  targets: Tensor; // [N]
  losses: Tensor; // [N]
  inverseCount: Tensor;
  lossScale: number; // which the gradient is multiplied by
  withGradient: boolean;
}): void {
  const { logits, targets, losses, inverseCount, withGradient } = options;
  const divisor = f32(g.microBatches / options.lossScale);
  const [vocab, count] = logits.shape;
  const { width, wgsl, wrap } = vectorType(count);
  const columns = count / width;
  const part = partSize(g);
  const parts = Math.ceil(vocab / part);
  const tops = g.activation("softmax.tops", [parts, count]);
  const sums = g.activation("softmax.sums", [parts, count]);
  const ids = width === 4 ? "vec4u" : "u32";
  const wrapIds = (tensor: Tensor) => ({ tensor, type: ids } as const);
  const constants = { COLUMNS: columns, VOCAB: vocab };
  /** Threads run along the columns of [V, N]. */
  const perColumns = (count: number, statements: string) =>
    perThread({
      count,
      index: "thread",
      functions: wgsl,
      statements: `let column = thread % COLUMNS;
  ${statements}`,
    });
  /** A loop over a thread's part of the vocabulary. */
  const eachEntry = (statement: string) => `
  for (var v = first; v < min(first + ${opaque(part)}, VOCAB); v++) {
    let i = v * COLUMNS + column;
    ${statement}
  }`;
  // On a GPU every logit is read once: four entries at a time are held while their maximum is found.
  const eachFour = `var sum = V();
  for (var v = first; v < min(first + ${opaque(part)}, VOCAB); v += 4u) {
    ${
    unroll(4, (n) =>
      `let z${n} = select(V(-3.0e38), logits[min(v + ${n}u, VOCAB - 1u) * COLUMNS + column], v + ${n}u < VOCAB);`)
  }
    let before = top;
    top = max(top, max(max(z0, z1), max(z2, z3)));
    sum = sum * exp(before - top) + ${Array.from({ length: 4 }, (_, n) => `exp(z${n} - top)`).join(" + ")};
  }`;

  g.dispatch({
    label: "softmax_parts",
    read: { logits: wrap(logits) },
    write: { tops: wrap(tops), sums: wrap(sums) },
    constants,
    ...perColumns(
      parts * columns,
      `let first = thread / COLUMNS * ${part}u;
  var top = V(-3.0e38);
  ${
        g.profile.isSoftware
          ? `${eachEntry("top = max(top, logits[i]);")}
  var sum = V();
  ${eachEntry("sum += exp(logits[i] - top);")}`
          : eachFour
      }
  tops[thread] = top;
  sums[thread] = sum;`,
    ),
  });
  const top = g.activation("softmax.top", [count]);
  const factor = g.activation("softmax.factor", [count]);
  g.dispatch({
    label: "softmax_losses",
    read: {
      tops: wrap(tops),
      sums: wrap(sums),
      targets: wrapIds(targets),
      logits,
      inverse_count: inverseCount,
    },
    write: { losses: wrap(losses), top: wrap(top), factor: wrap(factor) },
    bytes: tops.byteLength + sums.byteLength + 4 * 5 * count, // of the logits those of the targets
    constants,
    ...perColumn(g.profile, {
      columns,
      index: "thread",
      functions: wgsl,
      statements: (loop, reduce) =>
        `let column = thread % COLUMNS;
  var most = V(-3.0e38);
  ${loop("p", opaque(parts))} { most = max(most, tops[p * COLUMNS + column]); }${reduce("most", "max")}
  var sum = V();
  ${loop("p", opaque(parts))} {
    let i = p * COLUMNS + column;
    sum += sums[i] * exp(tops[i] - most);
  }${reduce("sum", "sum")}`,
      result: `let own = targets[column];
  let counts = own < ${ids}(VOCAB);
  let at = min(own, ${ids}(VOCAB - 1u)) * ${count}u + column * ${width}u;
  let z = ${
        width === 4
          ? "vec4f(logits[at.x], logits[at.y + 1u], logits[at.z + 2u], logits[at.w + 3u])"
          : "logits[at]"
      };
  losses[column] = select(V(), most + log(sum) - z, counts);
  top[column] = most;
  factor[column] = select(V(), V(inverse_count[0] / ${divisor}) / sum, counts);`,
    }),
  });
  if (!withGradient) return;
  g.dispatch({
    label: "softmax_gradient",
    read: {
      targets: wrapIds(targets),
      top: wrap(top),
      factor: wrap(factor),
      inverse_count: inverseCount,
    },
    write: { logits: wrap(logits) },
    bytes: 2 * logits.byteLength + 4 * 3 * count, // in place
    constants,
    ...perColumns(
      parts * columns,
      `let first = thread / COLUMNS * ${part}u;
  let own = targets[column];
  let high = top[column];
  let scale = factor[column];
  // An ignored target is past the vocabulary, so it meets no v.
  let whole = V(inverse_count[0] / ${divisor});
  ${
        eachEntry(
          `logits[i] = exp(logits[i] - high) * scale - select(V(), whole, own == ${ids}(v));`,
        )
      }`,
    ),
  });
}
