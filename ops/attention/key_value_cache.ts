/**
 * Keys and values that a model computed for sequences, kept so that it need not compute them again for every
 * token that is added.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import type { Graph } from "../../gpu/graph.ts";
import { formatBytes, withinMemory } from "../../gpu/memory.ts";
import { allocateStorage } from "../../gpu/parameters.ts";
import { Storage, Tensor } from "../../gpu/tensor.ts";

/** The keys and values of one layer, as an op reads and writes them. */
export interface LayerCache {
  /** [S, P, columns]. */
  readonly keys: Tensor;
  /** [S, P, columns]. */
  readonly values: Tensor;
}

/**
 * What a graph that continues sequences knows about them. The host writes `starts` and `slots` before a run, unless
 * kernels of the last run did.
 */
export interface SequenceContext {
  /** u32 [B], an input: the position of each sequence's first token; all before it are in the cache. */
  readonly starts: Tensor;
  /** u32 [B], an input: which of the cache's sequences each is. */
  readonly slots: Tensor;
  /** Positions that the cache holds for a sequence, P. */
  readonly length: number;
  /**
   * The cache of a layer.
   *
   * @param index Which layer.
   * @param columns Values of a position: key and value heads times head size.
   */
  layer(index: number, columns: number): LayerCache;
}

/** A cache of keys and values for all layers of a model. Several graphs may share one. */
export class KeyValueCache {
  readonly #layers = new Map<number, LayerCache>();

  /**
   * Describes a cache; {@linkcode KeyValueCache.allocate} gives it memory.
   *
   * @param sequences Sequences that it holds, S.
   * @param length Positions of each, P.
   */
  constructor(readonly sequences: number, readonly length: number) {}

  /**
   * The cache as one graph uses it.
   *
   * @param g The graph; it gets the inputs `starts` and `slots`.
   * @param batch Sequences of the graph, B.
   */
  context(g: Graph, batch: number): SequenceContext {
    return {
      starts: g.input("starts", [batch], "u32"),
      slots: g.input("slots", [batch], "u32"),
      length: this.length,
      layer: (index, columns) => this.#layer(index, columns),
    };
  }

  /**
   * Gives memory to what the graphs recorded so far use; before they are compiled.
   *
   * @throws {RangeError} If a layer's is too large for the adapter, or memory runs out.
   */
  async allocate(gpu: Gpu): Promise<void> {
    const storages = [...this.#layers.values()].flatMap(({ keys, values }) => [keys.storage, values.storage]);
    const bytes = storages.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const what = `${
      formatBytes(bytes)
    } of keys and values, for ${this.sequences} sequences of ${this.length} tokens`;
    await withinMemory(
      gpu,
      what,
      "generate fewer or shorter sequences at a time, or use a smaller model",
      () => {
        for (const storage of storages) allocateStorage(gpu, storage);
      },
    );
  }

  /** Gives the memory back. */
  destroy(): void {
    for (const { keys, values } of this.#layers.values()) {
      for (const { storage } of [keys, values]) storage.buffer?.destroy();
    }
    this.#layers.clear();
  }

  #layer(index: number, columns: number): LayerCache {
    const shape = [this.sequences, this.length, columns];
    const make = (name: string) => {
      const label = `cache.${index}.${name}`;
      const storage = new Storage("state", shape.reduce((a, b) => a * b, 4), label);
      return new Tensor(shape, "f32", { storage, byteOffset: 0 }, false, label);
    };
    const known = this.#layers.get(index) ?? { keys: make("keys"), values: make("values") };
    this.#layers.set(index, known);
    return known;
  }
}
