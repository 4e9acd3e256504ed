/**
 * What TensorFlow.js does in the bench, in a process or in a page.
 */
import { batchOf, checkProduct, matmulInputs, weights } from "../inputs.ts";

/** Sets up TensorFlow.js, the module, on a backend; gives what prepares a case. */
export async function tfjsCases(tf, backend) {
  if (!await tf.setBackend(backend)) throw new Error(`TensorFlow.js cannot use its backend ${backend}`);
  await tf.ready();

  /** Waits for all that was submitted, by reading one value of a tensor. */
  async function wait(tensor) {
    const one = tf.tidy(() => tensor.flatten().slice([0], [1]));
    const [value] = await one.data();
    one.dispose();
    return value;
  }

  async function prepareMatmul(what) {
    const { m, k, n } = what;
    const inputs = matmulInputs(what);
    const began = performance.now();
    const [a, b] = [tf.tensor(inputs.a, [m, k]), tf.tensor(inputs.b, [k, n])];
    const run = async (count) => {
      const results = Array.from({ length: count }, () => tf.matMul(a, b));
      await wait(results[count - 1]);
      tf.dispose(results);
    };
    await run(1);
    const first = (performance.now() - began) / 1e3;
    const product = tf.matMul(a, b);
    const error = checkProduct(what, await product.data());
    product.dispose();
    return { ready: { first, error }, run, release: () => tf.dispose([a, b]) };
  }

  /** No biases and the cheaper gelu, x sigmoid(1.702 x): less to do than koala-lm has. */
  async function prepareStep({ model: { layers, width: C, heads, seqLen: T, batch: B, vocab: V }, model }) {
    const start = weights(model);
    const began = performance.now();
    const weight = (name) => {
      const { shape, values } = start.find((w) => w.name === `${name}.weight`);
      return tf.variable(tf.tensor(values, shape));
    };
    const gain = () => tf.variable(tf.ones([C]));
    const [wte, wpe, norm] = [weight("wte"), weight("wpe"), gain()];
    const blocks = Array.from({ length: layers }, (_, i) => ({
      norm1: gain(),
      attn: weight(`h.${i}.attn.c_attn`),
      proj: weight(`h.${i}.attn.c_proj`),
      norm2: gain(),
      up: weight(`h.${i}.mlp.c_fc`),
      down: weight(`h.${i}.mlp.c_proj`),
    }));
    const all = [wte, wpe, norm, ...blocks.flatMap((block) => Object.values(block))];
    const mask = tf.tidy(() =>
      tf.linalg.bandPart(tf.ones([T, T]), -1, 0).sub(1).mul(1e9).reshape([1, 1, T, T])
    );
    const layerNorm = (x, g) => {
      const { mean, variance } = tf.moments(x, -1, true);
      return x.sub(mean).mul(tf.rsqrt(variance.add(1e-5))).mul(g).reshape([B * T, C]);
    };
    const gelu = (x) => x.mul(tf.sigmoid(x.mul(1.702)));
    const headed = (x) =>
      tf.split(
        x.reshape([B, T, 3, heads, C / heads]).transpose([2, 0, 3, 1, 4]).reshape([
          3,
          B,
          heads,
          T * C / heads,
        ]),
        3,
        0,
      ).map((part) => part.reshape([B, heads, T, C / heads]));
    const lossOf = (ids, targets) => {
      let x = tf.gather(wte, ids).reshape([B, T, C]).add(wpe);
      for (const block of blocks) {
        const [q, k, v] = headed(tf.matMul(layerNorm(x, block.norm1), block.attn));
        const scores = tf.matMul(q, k, false, true).mul(1 / Math.sqrt(C / heads)).add(mask);
        const y = tf.matMul(tf.softmax(scores), v).transpose([0, 2, 1, 3]).reshape([B * T, C]);
        x = x.add(tf.matMul(y, block.proj).reshape([B, T, C]));
        const inner = gelu(tf.matMul(layerNorm(x, block.norm2), block.up));
        x = x.add(tf.matMul(inner, block.down).reshape([B, T, C]));
      }
      const logits = tf.matMul(layerNorm(x, norm), wte, false, true);
      return tf.losses.softmaxCrossEntropy(tf.oneHot(targets, V).toFloat(), logits);
    };
    const optimizer = tf.train.adam(1e-3, 0.9, 0.95, 1e-8);
    const integers = (values) => tf.tensor(Int32Array.from(values), [B * T], "int32");
    let done = 0;
    const losses = [];
    const run = async (count) => {
      let loss;
      for (let i = 0; i < count; i++) {
        loss?.dispose();
        const batch = batchOf(model, done++);
        const [ids, targets] = [integers(batch.tokens), integers(batch.targets)];
        loss = optimizer.minimize(() => lossOf(ids, targets), true, all);
        tf.dispose([ids, targets]);
      }
      losses.push((await loss.data())[0]);
      // The loss is known before the update is done; the last variable is updated last.
      await wait(all[all.length - 1]);
      loss.dispose();
    };
    await run(1);
    const first = (performance.now() - began) / 1e3;
    await run(1);
    const warm = performance.now();
    await run(1);
    const once = (performance.now() - warm) / 1e3;
    return { ready: { first, once, losses: losses.slice() }, run };
  }

  return (what) => what.kind === "matmul" ? prepareMatmul(what) : prepareStep(what);
}
