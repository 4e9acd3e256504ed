/**
 * The weights of a model with an adapter's product added to them, piece by piece while they are read.
 *
 * @module
 */

import { adapterScale } from "./config.ts";
import type { AdaptedModel, AdapterFolder } from "./folder.ts";
import type { FloatTensors, TensorInfo } from "../safetensors/safetensors.ts";
import type { LinearLayer } from "../tensor_names.ts";

/**
 * Merges a LoRA into its model: W + s B A, or its transpose where the weight lies as [in, out]. Products are summed in
 * float64 and rounded once, to float32.
 *
 * @param model The model; it must stay open while the result is read.
 * @param adapter Its adapter; likewise.
 * @returns The model's tensors.
 * @throws {TypeError} If the adapter does not fit the model; one error lists all differences.
 */
export function mergedTensors(model: AdaptedModel, adapter: AdapterFolder): FloatTensors {
  const layers = new Map(adapter.layersOf(model).map((layer) => [`${layer.module}.weight`, layer]));
  const tensors = new Map([...model.tensors].map(([name, info]): [string, TensorInfo] => [
    name,
    layers.has(name) ? { ...info, dtype: "F32", byteLength: info.shape[0] * info.shape[1] * 4 } : info,
  ]));
  return {
    tensors,
    piecesF32(name) {
      const layer = layers.get(name);
      return layer ? mergedPieces(model.piecesF32(name), adapter, layer) : model.piecesF32(name);
    },
  };
}

async function* mergedPieces(
  pieces: AsyncIterable<Float32Array>,
  adapter: AdapterFolder,
  { module, inputs, outputs, inOut }: LinearLayer,
): AsyncGenerator<Float32Array> {
  const { r } = adapter.adapter;
  const scale = adapterScale(adapter.adapter);
  const a = await adapter.readF32(`${module}.lora_A.weight`); // [r, in]
  const b = await adapter.readF32(`${module}.lora_B.weight`); // [out, r]
  // Row `i` of the weight gets the sum over k of left[i, k] right[k, j].
  const left = inOut ? transposed(a, r, inputs) : b; // [rows, r]
  const right = inOut ? transposed(b, outputs, r) : a; // [r, columns]
  const columns = inOut ? outputs : inputs;
  const row = new Float64Array(columns);
  let current = -1; // the row that `row` holds
  let at = 0; // index in the weight
  for await (const piece of pieces) {
    const merged = new Float32Array(piece.length);
    for (let p = 0; p < piece.length; p++, at++) {
      const i = Math.floor(at / columns);
      if (i !== current) productRow(row, left.subarray(i * r, (i + 1) * r), right, scale);
      current = i;
      merged[p] = piece[p] + row[at - i * columns];
    }
    yield merged;
  }
}

/** row = scale * left right. */
function productRow(row: Float64Array, left: Float32Array, right: Float32Array, scale: number): void {
  row.fill(0);
  for (const [k, value] of left.entries()) {
    const factor = scale * value;
    const start = k * row.length;
    for (let j = 0; j < row.length; j++) row[j] += factor * right[start + j];
  }
}

/** [columns, rows] of a matrix [rows, columns]. */
function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(values.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) result[j * rows + i] = values[i * columns + j];
  }
  return result;
}
