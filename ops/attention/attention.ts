/**
 * Causal multi-head attention without a T x T matrix in memory (online softmax, arXiv 1805.02867; backward
 * by recomputation as in FlashAttention, arXiv 2205.14135):
 *
 * s_ij = scale q_i k_j for starts_i <= j <= i, p_i = softmax(s_i), o_i = sum_j p_ij v_j.
 *
 * Saved: o and l_i = log sum_j exp(s_ij). Backward, with D_i = do_i o_i:
 * dv_j = sum_i p_ij do_i, ds_ij = p_ij (do_i v_j - D_i), dq_i = scale sum_j ds_ij k_j,
 * dk_j = scale sum_i ds_ij q_i. With dropout, p in o and dv carries the mask m_ij, and ds_ij is
 * p_ij (m_ij do_i v_j - D_i).
 *
 * One thread owns one query (forward, dq) or one key (dk, dv) of one head and keeps its rows in registers;
 * all threads of a workgroup walk the same keys or queries. Where subgroups have 8 lanes (lavapipe, where a
 * load costs four broadcasts), each lane loads a part of the walked row and broadcasts it.
 *
 * @module
 */
import { type GradientTarget, type Graph, type Operand, vec4 } from "../../gpu/graph.ts";
import { expectShape, type Tensor } from "../../gpu/tensor.ts";
import { f32, mainInputs, opaque } from "../../gpu/wgsl.ts";
import { cachedAttention, type Columns } from "./cached_attention.ts";
import { keepFactorWgsl, randomSeed } from "../dropout.ts";
import type { SequenceContext } from "./key_value_cache.ts";

/** Options of {@linkcode attention}. */
export interface AttentionOptions {
  /** Query heads, NH. */
  readonly numHeads: number;
  /** Key and value heads; default NH. Each is shared by NH / numKeyValueHeads query heads. */
  readonly numKeyValueHeads?: number;
  /** Factor of the scores; default 1 / sqrt(head size). */
  readonly scale?: number;
  /** Probability of dropping an attention weight while training; default 0. */
  readonly dropout?: number;
  /** Attend to all positions of sequences that are continued, through the cache of a layer; default none. */
  readonly cache?: { readonly context: SequenceContext; readonly layer: number };
  /** u32 [B, T]: the first key that each query sees, such as the start of its document; default 0. */
  readonly starts?: Tensor;
}

const THREADS = 16;

/**
 * Attention over queries, keys and values that lie side by side, as GPT-2's c_attn computes them.
 *
 * @param g The graph to record in.
 * @param qkv [B, T, 3C]: q, then k, then v.
 * @param options See {@linkcode AttentionOptions}; all heads have keys of their own here.
 * @returns [B, T, C].
 * @throws {TypeError} If the shape does not fit.
 * @throws {RangeError} If C is not a multiple of the number of heads.
 */
export function packedAttention(g: Graph, qkv: Tensor, options: AttentionOptions): Tensor {
  expectShape("packedAttention", "qkv", qkv, [null, null, null]);
  const width = qkv.shape[2];
  const channels = width / 3;
  if (!Number.isInteger(channels)) {
    throw new TypeError(`packedAttention: qkv must have 3C columns, got ${width}`);
  }
  const at = (part: number): Columns => ({ tensor: qkv, offset: part * channels, stride: width });
  return record(g, at(0), at(1), at(2), channels, { ...options, numKeyValueHeads: options.numHeads });
}

/**
 * Attention over separate queries, keys and values.
 *
 * @param g The graph to record in.
 * @param q [B, T, NH * HS].
 * @param k [B, T, numKeyValueHeads * HS].
 * @param v The shape of k.
 * @param options See {@linkcode AttentionOptions}.
 * @returns [B, T, NH * HS].
 * @throws {TypeError} If the shapes do not fit.
 * @throws {RangeError} If the heads do not divide the columns.
 */
export function attention(g: Graph, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  expectShape("attention", "q", q, [null, null, null]);
  const [batch, length, channels] = q.shape;
  const kvColumns = (channels / options.numHeads) * (options.numKeyValueHeads ?? options.numHeads);
  expectShape("attention", "k", k, [batch, length, kvColumns]);
  expectShape("attention", "v", v, k.shape);
  const whole = (tensor: Tensor): Columns => ({ tensor, offset: 0, stride: tensor.shape[2] });
  return record(g, whole(q), whole(k), whole(v), channels, options);
}

function record(
  g: Graph,
  q: Columns,
  k: Columns,
  v: Columns,
  channels: number,
  options: AttentionOptions,
): Tensor {
  const { numHeads, numKeyValueHeads = numHeads } = options;
  const headDim = channels / numHeads; // HS
  if (!Number.isInteger(headDim) || !Number.isInteger(numHeads / numKeyValueHeads)) {
    throw new RangeError(
      `attention: the heads must divide the columns and the key heads the heads, got ${channels} columns, ` +
        `${numHeads} heads, ${numKeyValueHeads} key heads`,
    );
  }
  const scale = options.scale ?? 1 / Math.sqrt(headDim);
  if (options.cache) {
    return cachedAttention(g, q, k, v, { numHeads, numKeyValueHeads, headDim, scale, ...options.cache });
  }
  const [batch, length] = q.tensor.shape; // B, T
  const packed = q.tensor === k.tensor;
  // Vectors need every head and every part to start at a multiple of 4.
  const width = headDim % 4 === 0 ? 4 : 1;
  const wrap = (t: Tensor): Operand => (width === 4 ? vec4(t) : t);
  const pieces = headDim / width;
  const all = [...Array(pieces).keys()];
  const each = (statement: (c: number) => string) => all.map(statement).join(" ");
  const broadcast = g.profile.subgroupSize === 8;
  /** Loads row `name` at `at` into `name0`, `name1`, ... once for all threads of the workgroup. */
  const loadShared = (name: string, load: (piece: string) => string) => {
    if (!broadcast) return each((c) => `let ${name}${c} = ${load(`${c}u`)};`);
    const own = [...Array(Math.ceil(pieces / 8)).keys()];
    return own.map((i) => `let ${name}_own${i} = ${load(`min(${i * 8}u + lane % 8u, ${pieces - 1}u)`)};`)
      .join(" ") +
      each((c) => `let ${name}${c} = subgroupBroadcast(${name}_own${c >> 3}, ${c & 7}u);`);
  };
  /** Statements for every piece. Each access to memory is long code on lavapipe, so there they are in a loop. */
  const forPieces = (statement: (piece: string) => string) =>
    g.profile.isSoftware
      ? `for (var c = 0u; c < ${opaque(pieces)}; c++) { ${statement("c")} }`
      : each((c) => statement(`${c}u`));
  const loadOwn = (name: string, load: (piece: string) => string) =>
    `var ${name}_own: array<V, ${pieces}>; ${forPieces((c) => `${name}_own[${c}] = ${load(c)};`)}
  ${each((c) => `let ${name}${c} = ${name}_own[${c}];`)}`;
  /** Stores sums `name0`, `name1`, ... */
  const store = (name: string, statement: (value: string, piece: string) => string) =>
    `var ${name}_all = array<V, ${pieces}>(${all.map((c) => `${name}${c}`).join(", ")});
  ${forPieces((c) => statement(`${name}_all[${c}]`, c))}`;
  const zeros = (name: string) => each((c) => `var ${name}${c} = V();`);
  const dot = (a: string, b: string) => all.map((c) => `product(${a}${c}, ${b}${c})`).join(" + ");
  const dropProbability = g.training ? options.dropout ?? 0 : 0;
  const { starts } = options;
  if (starts) expectShape("attention", "starts", starts, [batch, length], "u32");
  const extra: Record<string, Tensor> = {
    ...(dropProbability > 0 ? { seed: randomSeed(g) } : {}),
    ...(starts ? { starts } : {}),
  };
  /** Whether query `i` sees key `j`. */
  const sees = (i: string, j: string) =>
    starts ? `${j} <= ${i} && ${j} >= starts[b * T + ${i}]` : `${j} <= ${i}`;

  const inputs: Record<string, Operand> = packed
    ? { qkv: wrap(q.tensor) }
    : { q: wrap(q.tensor), k: wrap(k.tensor), v: wrap(v.tensor) };
  const read = (name: string, { offset, stride }: Columns) => `
fn ${name}_at(b: u32, t: u32, head: u32) -> u32 {
  return ((b * T + t) * ${stride}u + ${offset}u + head * HS) / ${width}u;
}
fn load_${name}(at: u32, c: u32) -> V { return ${packed ? "qkv" : name}[at + c]; }`;
  const common = `
alias V = ${width === 4 ? "vec4f" : "f32"};
fn product(a: V, b: V) -> f32 { ${width === 4 ? "return dot(a, b);" : "return a * b;"} }
${read("q", q)}${read("k", k)}${read("v", v)}
fn o_at(b: u32, t: u32, head: u32) -> u32 { return ((b * T + t) * ${channels}u + head * HS) / ${width}u; }
fn l_at(b: u32, t: u32, head: u32) -> u32 { return (b * NH + head) * T + t; }
${
    dropProbability > 0
      ? `${keepFactorWgsl(dropProbability)}
fn keep(b: u32, head: u32, i: u32, j: u32) -> f32 {
  return keep_factor(seed[0], STREAM, ((b * NH + head) * T + i) * T + j);
}`
      : "fn keep(b: u32, head: u32, i: u32, j: u32) -> f32 { return 1.0; }"
  }`;
  const constants = {
    T: length,
    HS: headDim,
    NH: numHeads,
    KV: numKeyValueHeads,
    GROUP: numHeads / numKeyValueHeads,
    ...(dropProbability > 0 ? { STREAM: g.randomStream() } : {}),
  };
  const scaleWgsl = `const SCALE = ${f32(scale)};`;
  const blocks = Math.ceil(length / THREADS);
  const grid = (heads: number): [number, number, number] => [blocks, heads * batch, 1];
  // Multiply-adds of one T x T by HS product, of which a causal kernel needs half.
  const causalProduct = batch * numHeads * length * length * headDim / 2;
  const main = (heads: "NH" | "KV", body: string) =>
    `${scaleWgsl}${common}
@compute @workgroup_size(${THREADS}) fn main(${mainInputs}) {
  let b = group.y / ${heads};
  let t = group.x * ${THREADS}u + lane;
  // Threads past the end repeat the last row and store nothing: the loops stay uniform.
  let row = min(t, T - 1u);
  ${body}
}`;

  const o = g.activation("attention", [batch, length, channels], [q.tensor, k.tensor, v.tensor]);
  const l = g.activation("attention.logsumexp", [batch, numHeads, length]);
  g.dispatch({
    label: "attention_forward",
    read: { ...inputs, ...extra },
    write: { o: wrap(o), l },
    constants,
    workgroups: grid(numHeads),
    flops: 4 * causalProduct,
    body: main(
      "NH",
      `
  let head = group.y % NH;
  let q_start = q_at(b, row, head);
  ${loadOwn("q", (c) => `load_q(q_start, ${c}) * SCALE`)}
  ${zeros("sum")}
  var top = -3.0e38;
  var total = 0.0;
  let last = min(group.x * ${THREADS}u + ${THREADS - 1}u, T - 1u);
  for (var j = 0u; j <= last; j++) {
    let k_start = k_at(b, j, head / GROUP);
    let v_start = v_at(b, j, head / GROUP);
    ${loadShared("k", (c) => `load_k(k_start, ${c})`)}
    ${loadShared("v", (c) => `load_v(v_start, ${c})`)}
    let s = select(-3.0e38, ${dot("q", "k")}, ${sees("row", "j")});
    let new_top = max(top, s);
    let shrink = exp(top - new_top);
    let p = select(0.0, exp(s - new_top), ${sees("row", "j")});
    total = total * shrink + p;
    let kept = p * keep(b, head, row, j);
    ${each((c) => `sum${c} = sum${c} * shrink + kept * v${c};`)}
    top = new_top;
  }
  if (t >= T) { return; }
  let o_start = o_at(b, row, head);
  ${store("sum", (value, c) => `o[o_start + ${c}] = ${value} / total;`)}
  l[l_at(b, row, head)] = top + log(total);`,
    ),
  });

  g.tape(() => {
    const dO = g.gradientOf(o);
    if (!dO) return;
    const targets = packed
      ? [g.gradientTarget(q.tensor)]
      : [q.tensor, k.tensor, v.tensor].map((t) => g.gradientTarget(t));
    if (targets.every((t) => !t)) return;
    const [dq, dk, dv] = packed ? [targets[0], targets[0], targets[0]] : targets;
    /** A row's part of a gradient, where one is required. */
    const add = (name: string, target: GradientTarget | undefined, sums: string, start: string) =>
      target
        ? store(sums, (value, c) => `${name}[${start} + ${c}] ${target.accumulate ? "+=" : "="} ${value};`)
        : "";
    /** Where the gradients go, by their names in WGSL. */
    const into = (targets: Record<string, GradientTarget | undefined>) =>
      Object.fromEntries(
        Object.entries(targets).flatMap(([name, t]) => t ? [[name, wrap(t.tensor)] as const] : []),
      );
    const d = g.activation("attention.d", [batch, numHeads, length]);
    g.dispatch({
      label: "attention_backward_q",
      read: { ...inputs, o: wrap(o), l, dO: wrap(dO), ...extra },
      write: { ...into(packed ? { dqkv: dq } : { dq }), d },
      constants,
      workgroups: grid(numHeads),
      flops: 6 * causalProduct,
      body: main(
        "NH",
        `
  let head = group.y % NH;
  let q_start = q_at(b, row, head);
  let o_start = o_at(b, row, head);
  ${loadOwn("q", (c) => `load_q(q_start, ${c}) * SCALE`)}
  ${loadOwn("g", (c) => `dO[o_start + ${c}]`)}
  ${zeros("sum")}
  var d_row = 0.0;
  ${forPieces((c) => `d_row += product(g_own[${c}], o[o_start + ${c}]);`)}
  let l_row = l[l_at(b, row, head)];
  let last = min(group.x * ${THREADS}u + ${THREADS - 1}u, T - 1u);
  for (var j = 0u; j <= last; j++) {
    let k_start = k_at(b, j, head / GROUP);
    let v_start = v_at(b, j, head / GROUP);
    ${loadShared("k", (c) => `load_k(k_start, ${c})`)}
    ${loadShared("v", (c) => `load_v(v_start, ${c})`)}
    let p = select(0.0, exp(${dot("q", "k")} - l_row), ${sees("row", "j")});
    let ds = p * ((${dot("g", "v")}) * keep(b, head, row, j) - d_row) * SCALE;
    ${each((c) => `sum${c} += ds * k${c};`)}
  }
  if (t >= T) { return; }
  d[l_at(b, row, head)] = d_row;
  ${add(packed ? "dqkv" : "dq", dq, "sum", "q_start")}`,
      ),
    });
    if (!dk && !dv) return;
    g.dispatch({
      label: "attention_backward_kv",
      read: { ...inputs, l, d, dO: wrap(dO), ...extra },
      write: into(packed ? { dqkv: dk } : { dk, dv }),
      constants,
      workgroups: grid(numKeyValueHeads),
      flops: 8 * causalProduct,
      body: main(
        "KV",
        `
  let kv_head = group.y % KV;
  let k_start = k_at(b, row, kv_head);
  let v_start = v_at(b, row, kv_head);
  ${loadOwn("k", (c) => `load_k(k_start, ${c}) * SCALE`)}
  ${loadOwn("v", (c) => `load_v(v_start, ${c})`)}
  ${zeros("dk")}
  ${zeros("dv")}
  for (var head = kv_head * GROUP; head < (kv_head + 1u) * GROUP; head++) {
    for (var i = group.x * ${THREADS}u; i < T; i++) {
      let q_start = q_at(b, i, head);
      let o_start = o_at(b, i, head);
      ${loadShared("q", (c) => `load_q(q_start, ${c})`)}
      ${loadShared("g", (c) => `dO[o_start + ${c}]`)}
      let at = l_at(b, i, head);
      let p = select(0.0, exp(${dot("k", "q")} - l[at]), ${sees("i", "row")});
      let mask = keep(b, head, i, row);
      let ds = p * ((${dot("v", "g")}) * mask - d[at]) * SCALE;
      let kept = p * mask;
      ${each((c) => `dv${c} += kept * g${c}; dk${c} += ds * q${c};`)}
    }
  }
  if (t >= T) { return; }
  ${add(packed ? "dqkv" : "dk", dk, "dk", "k_start")}
  ${add(packed ? "dqkv" : "dv", dv, "dv", "v_start")}`,
      ),
    });
  });
  return o;
}
