/**
 * From an adapter's file to the model that it is part of.
 *
 * @module
 */
import { type AdapterConfig, adapterScale, isTargetModule } from "../../checkpoint/adapter/config.ts";
import type { Layers } from "../../models/layers.ts";
import { loraLayers } from "../../models/lora.ts";

/**
 * The layers of a model with an adapter: its weights are frozen, the adapter is trained.
 *
 * @param adapter The content of `adapter_config.json`.
 * @returns What `modelFromConfig()` takes as its second argument.
 * @throws {RangeError} If a value is impossible.
 */
export function adapterLayers(adapter: AdapterConfig): Layers {
  return loraLayers({
    rank: adapter.r,
    scale: adapterScale(adapter),
    dropout: adapter.lora_dropout,
    isTarget: (module) => isTargetModule(module, adapter.target_modules),
  });
}
