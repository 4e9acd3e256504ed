/**
 * What jax-js does in the bench, in a process or in a page.
 */
import { batchOf, checkProduct, matmulInputs, weights } from "../inputs.ts";

/** Sets up jax-js, the module, on a device of its own; gives what prepares a case. */
export async function jaxCases(jax, device) {
  const { numpy: np, nn, tree, jit, valueAndGrad, blockUntilReady } = jax;
  const devices = await jax.init();
  if (!devices.includes(device)) {
    throw new Error(`jax-js has no device ${device}, only ${devices.join(", ")}`);
  }
  jax.defaultDevice(device);

  const array = (values, shape) => np.array(values).reshape(shape);

  async function prepareMatmul(what) {
    const { m, k, n } = what;
    const inputs = matmulInputs(what);
    const began = performance.now();
    const [a, b] = [array(inputs.a, [m, k]), array(inputs.b, [k, n])];
    const product = jit((x, y) => np.matmul(x, y));
    const run = async (count) => {
      const results = Array.from({ length: count }, () => product(a.ref, b.ref));
      await blockUntilReady(results.map((c) => c.ref));
      for (const c of results) c.dispose();
    };
    await run(1);
    const first = (performance.now() - began) / 1e3;
    const error = checkProduct(what, await product(a.ref, b.ref).data());
    const release = () => {
      a.dispose();
      b.dispose();
    };
    return { ready: { first, error }, run, release };
  }

  /** The whole step, Adam included, in one jit. No biases: less to do than koala-lm has. */
  async function prepareStep({ model: { layers, width: C, heads, seqLen: T, batch: B, vocab: V }, model }) {
    const start = weights(model);
    const began = performance.now();
    const weight = (name) => {
      const { shape, values } = start.find((w) => w.name === `${name}.weight`);
      return array(values, shape);
    };
    const gain = () => np.ones([C]);
    let p = {
      wte: weight("wte"),
      wpe: weight("wpe"),
      norm: gain(),
      blocks: Array.from({ length: layers }, (_, i) => ({
        norm1: gain(),
        attn: weight(`h.${i}.attn.c_attn`),
        proj: weight(`h.${i}.attn.c_proj`),
        norm2: gain(),
        up: weight(`h.${i}.mlp.c_fc`),
        down: weight(`h.${i}.mlp.c_proj`),
      })),
    };
    const zeros = () => tree.map((x) => np.zeros(x.shape), tree.ref(p));
    let [m, v] = [zeros(), zeros()];

    const layerNorm = (x, g) => nn.standardize(x, -1).mul(g).reshape([B * T, C]);
    const lossOf = (p, ids, targets) => {
      // A product, since inside of a jit the gradient of np.take fails in this version.
      let x = np.matmul(nn.oneHot(ids, V), p.wte.ref).reshape([B, T, C]).add(p.wpe);
      for (const block of p.blocks) {
        const qkv = np.matmul(layerNorm(x.ref, block.norm1), block.attn).reshape([B, T, 3, heads, C / heads]);
        const [q, k, v] = np.split(qkv, 3, 2).map((part) => part.reshape([B, T, heads, C / heads]));
        const y = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([B * T, C]);
        x = x.add(np.matmul(y, block.proj).reshape([B, T, C]));
        const inner = nn.gelu(np.matmul(layerNorm(x.ref, block.norm2), block.up));
        x = x.add(np.matmul(inner, block.down).reshape([B, T, C]));
      }
      const logits = np.matmul(layerNorm(x, p.norm), np.transpose(p.wte));
      return nn.logSoftmax(logits, -1).mul(nn.oneHot(targets, V)).sum().mul(-1 / (B * T));
    };
    // Adam, its bias corrections folded into the rate.
    const [beta1, beta2, eps] = [0.9, 0.95, 1e-8];
    const step = jit((p, m, v, ids, targets, rate) => {
      const [loss, g] = valueAndGrad(lossOf)(tree.ref(p), ids, targets);
      const m2 = tree.map((m, g) => m.mul(beta1).add(g.mul(1 - beta1)), m, tree.ref(g));
      const v2 = tree.map((v, g) => v.mul(beta2).add(np.square(g).mul(1 - beta2)), v, g);
      const moved = (p, m, v) => p.sub(m.mul(rate.ref).div(np.sqrt(v).add(eps)));
      const p2 = tree.map(moved, p, tree.ref(m2), tree.ref(v2));
      rate.dispose();
      return [loss, p2, m2, v2];
    });
    const integers = (values) => np.array(Int32Array.from(values), { dtype: np.int32 });
    const losses = [];
    let done = 0;
    const run = async (count) => {
      let loss;
      for (let i = 0; i < count; i++) {
        const { tokens, targets } = batchOf(model, done++);
        const rate = 1e-3 * Math.sqrt(1 - beta2 ** done) / (1 - beta1 ** done);
        loss?.dispose();
        [loss, p, m, v] = step(p, m, v, integers(tokens), integers(targets), np.array(rate));
      }
      await blockUntilReady([p, m, v].map((x) => tree.ref(x)));
      losses.push(await loss.jsAsync());
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
