/**
 * Optimizer state with one value per parameter value.
 *
 * @module
 */
import type { Graph, UpdateSegment } from "../../gpu/graph.ts";
import { Storage, Tensor } from "../../gpu/tensor.ts";
import type { OwnedState } from "../optimizer.ts";

/**
 * Makes state that is packed like the segments.
 *
 * @param g The training graph.
 * @param prefix Begins the names, such as `adamw.m`.
 * @param segments The optimizer's segments.
 * @returns One packed tensor per segment, and a named view per parameter.
 */
export function parameterState(
  g: Graph,
  prefix: string,
  segments: readonly UpdateSegment[],
): { packed: Tensor[]; named: OwnedState[] } {
  const named: OwnedState[] = [];
  const packed = segments.map((segment, s) => {
    const storage = g.persist(new Storage("state", segment.length * 4, `${prefix}.${s}`));
    const view = (shape: readonly number[], byteOffset: number, label: string) =>
      new Tensor(shape, "f32", { storage, byteOffset }, false, label);
    for (const { item, start } of segment.items) {
      const name = `${prefix}.${item.name}`;
      named.push({ name, tensor: view(item.shape, start * 4, name) });
    }
    return view([segment.length], 0, `${prefix}.${s}`);
  });
  return { packed, named };
}
