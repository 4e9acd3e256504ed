/**
 * The bytes that a training step must move at least, when every layer reads what it needs and writes what it makes once:
 *
 * - Activations, for each micro-batch: a layer reads its input and writes its output; backward it reads the output's
 *   gradient and the input again and writes the input's gradient. So 3 inputs and 2 outputs of each.
 *   Layers are: norms, products with a weight, attention (q, k and v to the heads' outputs), the activation between the
 *   two or three products of the MLP, the head, and the loss, whose output is one number for a row of logits. Each
 *   of a block's two residual sums reads its other summand once more. Embeddings write their output and read its gradient.
 * - Weights, for each micro-batch: read forward and backward; their gradients are written.
 * - Optimizer: gradients are read, weights and its state are read and written.
 *
 * All in f32, but with the precision f16 activations and what products read of the weights. A kernel that joins layers
 * can do with less; dropout, biases' sums and clipping are left out.
 *
 * @module
 */
import type { Parameter, ParameterStore } from "../../gpu/parameters.ts";
import type { Precision } from "../../gpu/precision/precision.ts";
import { DTYPE_BYTES } from "../../gpu/tensor.ts";
import type { LanguageModel } from "../../models/model.ts";
import type { OwnedState } from "../../optim/optimizer.ts";

/** The batch of a step. */
export interface StepTokens {
  /** Sequences of a micro-batch. */
  readonly batchSize: number;
  /** Tokens of a sequence. */
  readonly seqLen: number;
  /** Micro-batches. */
  readonly gradAccum: number;
  /** How activations are stored; default f32. */
  readonly precision?: Precision;
}

/** What is moved at least, in bytes, see the top of this file. */
export interface LeastBytes {
  /** Activations and their gradients. */
  readonly activations: number;
  /** Weights, their gradients, and the optimizer's state. */
  readonly weights: number;
}

/**
 * Counts the bytes of a step.
 *
 * @param model The model, whose config has the keys of GPT, GPT-2 or Llama.
 * @param store Its parameters, as the step declared them.
 * @param state The optimizers' state.
 * @param tokens The batch.
 */
export function leastBytes(
  model: LanguageModel,
  store: ParameterStore,
  state: readonly OwnedState[],
  { batchSize, seqLen, gradAccum, precision = "f32" }: StepTokens,
): LeastBytes {
  const bytes = DTYPE_BYTES[precision];
  const tokens = batchSize * seqLen * gradAccum;
  const parameters = sum(store.all, (p) => p.tensor.size);
  const trained = sum(store.all, (p) => p.trainable ? p.tensor.size : 0);
  const kept = sum(state, (s) => s.tensor.size);
  return {
    activations: bytes * tokens * valuesPerToken(model, store),
    weights: gradAccum * (bytes * 2 * parameters + 4 * trained) + 4 * (3 * trained + 2 * kept),
  };
}

/** Activations that are read or written for a token. */
function valuesPerToken(model: LanguageModel, store: ParameterStore): number {
  const { config, vocabSize } = model;
  const layers = Number(config.n_layer ?? config.num_hidden_layers);
  const width = Number(config.n_embd ?? config.hidden_size);
  const heads = Number(config.n_head ?? config.num_attention_heads);
  const pairs = Number(config.num_key_value_heads ?? heads);
  const mlp = Number(config.n_inner ?? config.intermediate_size ?? 4 * width);
  const gated = config.intermediate_size !== undefined;
  const layer = (input: number, output: number) => 3 * input + 2 * output;

  // A norm has one gain; its shift, where it has one, is no layer of its own.
  const norms = store.all.filter((p) => p.role === "norm" && !p.name.endsWith("bias"));
  const block = layer(width * (1 + 2 * pairs / heads), width) + layer(gated ? 2 * mlp : mlp, mlp) + 2 * width;
  return sum(norms, () => layer(width, width)) +
    sum(store.all.filter((p) => p.role === "matrix"), (p) => layer(...inputsAndOutputs(p))) +
    layers * block + layer(width, vocabSize) + layer(vocabSize, 0) + 2 * width;
}

function inputsAndOutputs({ shape: [rows, columns], layout }: Parameter): [number, number] {
  return layout === "in-out" ? [rows, columns] : [columns, rows];
}

function sum<T>(all: readonly T[], value: (one: T) => number): number {
  return all.reduce((total, one) => total + value(one), 0);
}
