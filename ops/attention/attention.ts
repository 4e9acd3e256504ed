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
 * On a CPU adapter one thread owns one query (forward, dq) or one key (dk, dv) of one head (`row_kernels.ts`), on a
 * graphics card a workgroup a block of them (`tiled_kernels.ts`).
 *
 * @module
 */
import type { GradientTarget, Graph } from "../../gpu/graph.ts";
import { expectShape, type Tensor } from "../../gpu/tensor.ts";
import { hasTexels, prefersTexels } from "../../gpu/texels/texels.ts";
import { perThread } from "../../gpu/wgsl.ts";
import { randomSeed } from "../dropout.ts";
import { type AttentionKernel, attentionKernels } from "./kernels.ts";
import { cachedAttention, type Columns } from "./cached_attention.ts";
import { headRow } from "./head_row.ts";
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
  requireHeads(channels, numHeads, numKeyValueHeads);
  const headDim = channels / numHeads; // HS
  const scale = options.scale ?? 1 / Math.sqrt(headDim);
  if (options.cache) {
    return cachedAttention(g, q, k, v, { numHeads, numKeyValueHeads, headDim, scale, ...options.cache });
  }
  const [batch, length] = q.tensor.shape; // B, T
  const row = headRow(g.profile, headDim);
  const dropout = g.training ? options.dropout ?? 0 : 0;
  const { starts } = options;
  if (starts) expectShape("attention", "starts", starts, [batch, length], "u32");
  const packed = q.tensor === k.tensor;
  const named = (name: string, columns: Columns) => ({ ...columns, array: packed ? "qkv" : name });
  const places = { q: named("q", q), k: named("k", k), v: named("v", v) };
  const texels = row.width === 4 && prefersTexels(g.profile) && [q, k, v].every((c) => hasTexels(c.tensor));
  const kernels = attentionKernels(g.profile, {
    row,
    places,
    channels,
    scale,
    dropout,
    texels,
    starts: starts?.size,
  });
  const readable = (tensor: Tensor) => row.wrap(texels ? g.texels(tensor) : tensor);
  // Texels are copied for the backward pass again, so that they need not be kept.
  const inputs = () =>
    Object.fromEntries(Object.values(places).map(({ array, tensor }) => [array, readable(tensor)] as const));
  const extra: Record<string, Tensor> = starts && dropout > 0 ? { starts: startsAndSeed(g, starts) } : {
    ...(dropout > 0 ? { seed: randomSeed(g) } : {}),
    ...(starts ? { starts } : {}),
  };
  const constants = {
    T: length,
    HS: headDim,
    NH: numHeads,
    KV: numKeyValueHeads,
    GROUP: numHeads / numKeyValueHeads,
    ...(dropout > 0 ? { STREAM: g.randomStream() } : {}),
  };
  const launch = ({ body, block }: AttentionKernel, heads: number) => ({
    constants,
    body,
    workgroups: [Math.ceil(length / block), heads * batch, 1] as const,
  });
  // Multiply-adds of one T x T by HS product, of which a causal kernel needs half.
  const causalProduct = batch * numHeads * length * length * headDim / 2;

  const o = g.activation("attention", [batch, length, channels], [q.tensor, k.tensor, v.tensor]);
  // l and D of each query side by side, since all that the backward kernels bind must be at most eight.
  const rows = g.activation("attention.rows", [batch, numHeads, length, 2]);
  const asPairs = { rows: { tensor: rows, type: "vec2f" } } as const;
  g.dispatch({
    label: "attention_forward",
    read: { ...inputs(), ...extra },
    write: { o: row.wrap(o), ...asPairs },
    flops: 4 * causalProduct,
    ...launch(kernels.forward(), numHeads),
  });
  g.tape(() => {
    const dO = g.gradientOf(o);
    const targets = dO && targetsOf(g, q.tensor, k.tensor, v.tensor);
    if (!targets) return;
    const { dq, dk, dv } = targets;
    const write = (...gradients: (NamedTarget | undefined)[]) =>
      Object.fromEntries(gradients.flatMap((t) => t ? [[t.array, row.wrap(t.tensor)] as const] : []));
    g.dispatch({
      label: "attention_backward_q",
      read: { ...inputs(), o: row.wrap(o), dO: readable(dO), ...extra },
      write: { ...write(dq), ...asPairs },
      flops: 6 * causalProduct,
      ...launch(kernels.backwardQueries(dq), numHeads),
    });
    if (!dk && !dv) return;
    g.dispatch({
      label: "attention_backward_kv",
      read: { ...inputs(), ...asPairs, dO: readable(dO), ...extra },
      write: write(dk, dv),
      flops: 8 * causalProduct,
      ...launch(kernels.backwardKeysValues(dk, dv), numKeyValueHeads),
    });
  });
  return o;
}

/** u32 [B * T + 1]: the starts, and behind them dropout's seed, so that both take one binding. */
function startsAndSeed(g: Graph, starts: Tensor): Tensor {
  const both = g.activation("attention.starts_and_seed", [starts.size + 1], [], "u32");
  g.dispatch({
    label: "starts_and_seed",
    read: { starts, seed: randomSeed(g) },
    write: { both },
    ...perThread({
      count: both.size,
      statements: "if (i + 1u < COUNT) { both[i] = starts[i]; } else { both[i] = seed[0]; }",
    }),
  });
  return both;
}

function requireHeads(channels: number, numHeads: number, numKeyValueHeads: number): void {
  if (Number.isInteger(channels / numHeads) && Number.isInteger(numHeads / numKeyValueHeads)) return;
  throw new RangeError(
    `attention: the heads must divide the columns and the key heads the heads, got ${channels} columns, ` +
      `${numHeads} heads, ${numKeyValueHeads} key heads`,
  );
}

/** Where a gradient goes, and under which name in WGSL. */
type NamedTarget = GradientTarget & { readonly array: string };

/** Where the gradients of q, k and v go, which may lie in one tensor; undefined when none is required. */
function targetsOf(
  g: Graph,
  q: Tensor,
  k: Tensor,
  v: Tensor,
): Partial<Record<"dq" | "dk" | "dv", NamedTarget>> | undefined {
  const named = (array: string, tensor: Tensor) => {
    const target = g.gradientTarget(tensor);
    return target && { array, ...target };
  };
  if (q === k) {
    const whole = named("dqkv", q);
    return whole && { dq: whole, dk: whole, dv: whole };
  }
  const targets = { dq: named("dq", q), dk: named("dk", k), dv: named("dv", v) };
  return Object.values(targets).some((t) => t) ? targets : undefined;
}
