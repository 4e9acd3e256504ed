/**
 * Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/): momentum whose matrix is replaced by the
 * nearest orthogonal one, so that a step is equally long in all directions that the gradients have spanned.
 *
 * ```text
 * m = mu m + (1 - mu) g
 * u = (1 - mu) g + mu m                         Nesterov's; else u = m
 * O = orthogonalize(u)                          five Newton-Schulz steps
 * theta = (1 - lr wd) theta - lr s O
 * s = sqrt(max(1, out / in))                    or 0.2 sqrt(max(out, in)) with match-rms-adamw
 * ```
 *
 * For hidden weight matrices only. Embeddings, head, norms and biases belong to AdamW, see `partition`. A
 * parameter that holds several matrices side by side, as GPT-2's c_attn does q, k and v, is treated as these
 * matrices, each orthogonalised on its own, as the authors do. `match-rms-adamw` (Liu et al., arXiv 2502.16982)
 * gives updates the size of AdamW's, so that its learning rate and weight decay can be taken over.
 *
 * The orthogonalisation is computed in f32, where the authors use bf16; `orthogonalize.ts` says what it costs. The
 * elementwise passes move 4 values per parameter (reads g and m, writes m and u) and 3 (reads O and theta, writes
 * theta), copies into batches and back 4, the norm of all gradients 1; state: 1.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import { f32 } from "../gpu/wgsl.ts";
import { matrixBatches, matrixShape } from "./matrices/matrix_batches.ts";
import { type Optimizer, type OwnedParameters, requireInRange, type UpdateRecording } from "./optimizer.ts";
import { orthogonalizePacked } from "./matrices/orthogonalize.ts";
import { chunkSegments } from "./packed/chunks.ts";
import { gradientSquares, updateChunks } from "./packed/passes.ts";
import { parameterState } from "./packed/state.ts";

/** Hyper-parameters of {@linkcode muon}. */
export interface MuonOptions {
  /** Learning rate; default 0.02. */
  readonly lr?: number;
  /** Momentum; default 0.95. */
  readonly momentum?: number;
  /** Nesterov's momentum; default true. */
  readonly nesterov?: boolean;
  /** Newton-Schulz steps; default 5. */
  readonly steps?: number;
  /** Decoupled weight decay; default 0. */
  readonly weightDecay?: number;
  /** How a matrix's shape scales its step: the author's way (default), or to the size of AdamW's steps. */
  readonly scale?: "original" | "match-rms-adamw";
}

/**
 * Makes a Muon optimizer.
 *
 * @param options See {@linkcode MuonOptions}.
 * @throws {RangeError} If a hyper-parameter is out of range.
 *
 * @example Muon on the hidden matrices, AdamW on the rest
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * import { adamw } from "./adamw.ts";
 * import { hiddenMatrices, partition } from "./partition.ts";
 *
 * const { optimizers } = partition([
 *   { owns: hiddenMatrices, optimizer: muon({ lr: 0.02 }) },
 *   { optimizer: adamw({ lr: 0.006 }) },
 * ]);
 * deepEqual(optimizers.map((o) => o.name), ["muon", "adamw"]);
 * ```
 */
export function muon(options: MuonOptions = {}): Optimizer {
  const { lr = 0.02, momentum = 0.95, nesterov = true, steps = 5, weightDecay = 0 } = options;
  const { scale = "original" } = options;
  for (const [name, value] of Object.entries({ lr, weightDecay })) {
    requireInRange("muon", name, value, { from: 0 });
  }
  requireInRange("muon", "momentum", momentum, { from: 0, below: 1 });
  requireInRange("muon", "steps", steps, { from: 1 });
  if (scale !== "original" && scale !== "match-rms-adamw") {
    throw new RangeError(
      `muon: scale must be "original" or "match-rms-adamw", got ${JSON.stringify(scale)}`,
    );
  }
  return {
    name: "muon",
    scalarCount: 1,
    scalars: (_step, factor) => [lr * factor],
    record: (g, owned) => record(g, owned, { lr, momentum, nesterov, steps, weightDecay, scale }),
  };
}

/** What a matrix's step is multiplied with. */
function stepScale(scale: MuonOptions["scale"], inputs: number, outputs: number): number {
  return scale === "original"
    ? Math.sqrt(Math.max(1, outputs / inputs))
    : 0.2 * Math.sqrt(Math.max(outputs, inputs));
}

function* record(
  g: Graph,
  { prefix, segments }: OwnedParameters,
  { momentum, nesterov, steps, weightDecay, scale }: Required<MuonOptions>,
): UpdateRecording {
  const m = parameterState(g, `${prefix}.momentum`, segments);
  const parts = chunkSegments(g, prefix, segments, (_, index) => index);
  const batches = matrixBatches(g, prefix, segments);
  const scales = segments.flatMap(({ items }) =>
    items.map(({ item }) => {
      const { inputs, outputs } = matrixShape(item);
      return stepScale(scale, inputs, outputs);
    })
  );
  const { statistics, scalars } = yield gradientSquares(g, parts);
  for (const part of parts) {
    updateChunks(g, part, {
      label: "muon_momentum",
      // What is orthogonalised takes the gradients' place.
      write: { m: m.packed[part.index], gradients: part.segment.gradients },
      statistics,
      statements: `
  let m_new = ${f32(momentum)} * m[i] + ${f32(1 - momentum)} * g;
  m[i] = m_new;
  gradients[i] = ${nesterov ? `${f32(1 - momentum)} * g + ${f32(momentum)} * m_new` : "m_new"};`,
    });
  }
  orthogonalizePacked(g, batches, segments.map((s) => s.gradients), steps);
  const shapes = g.constant(`${prefix}.scales`, Float32Array.from(scales));
  for (const part of parts) {
    updateChunks(g, part, {
      label: "muon_update",
      write: { theta: part.segment.parameters },
      extra: { scalars, shapes },
      statistics,
      before: `
  let rate = scalars[0] * shapes[tag];
  let keep = 1.0 - scalars[0] * ${f32(weightDecay)};`,
      statements: "theta[i] = keep * theta[i] - rate * raw;",
    });
  }
  return { state: m.named };
}
