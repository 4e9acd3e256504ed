/**
 * The optimizers that a run may name, with their defaults: one row of a table for each.
 *
 * @module
 */
import { adamw } from "../../optim/adamw.ts";
import { koalaPlusPlus } from "../../optim/koala/koala_plus_plus.ts";
import { koalaM, koalaV } from "../../optim/koala/koala.ts";
import { lion } from "../../optim/lion.ts";
import { muon } from "../../optim/muon.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import { hiddenMatrices, type OptimizerPartition, partition } from "../../optim/partition.ts";
import { sgd } from "../../optim/sgd.ts";
import { soap } from "../../optim/soap.ts";
import type { StepConfig } from "./config.ts";

/** What a run needs to know of an optimizer. */
export interface OptimizerChoice {
  /** Makes it as a run's configuration says. */
  readonly make: (config: StepConfig) => Optimizer;
  /** Default of the peak learning rate. */
  readonly lr: number;
  /** Default of the peak learning rate of a LoRA, measured on nano models; absent: `lr`. */
  readonly loraLr?: number;
  /** Default of the weight decay, which a LoRA has none of. */
  readonly weightDecay: number;
  /** Default of the decay of the average of gradients; absent: none is taken. */
  readonly momentum?: number;
  /**
   * Which parameters it trains: all, the hidden weight matrices with AdamW for the rest, or what the
   * configuration's `koalaScope` says.
   */
  readonly trains: "all" | "hidden" | "koala-scope";
}

/** Optimizers that a run may name. */
export const OPTIMIZERS: Readonly<Record<string, OptimizerChoice>> = {
  "koala++": {
    make: (config) => koalaPlusPlus({ ...config, beta: config.momentum }),
    lr: 0.02,
    loraLr: 0.1,
    weightDecay: 0,
    trains: "koala-scope",
  },
  "koala-v": { make: koalaV, lr: 0.02, weightDecay: 0, trains: "koala-scope" },
  "koala-m": {
    make: (config) => koalaM({ ...config, a: config.momentum }),
    lr: 0.02,
    weightDecay: 0,
    momentum: 0.9,
    trains: "koala-scope",
  },
  "adamw": {
    make: ({ lr, weightDecay, momentum: beta1 }) => adamw({ lr, weightDecay, beta1 }),
    lr: 0.003,
    loraLr: 0.01,
    weightDecay: 0.1,
    momentum: 0.9,
    trains: "all",
  },
  "sgd": {
    make: ({ lr, weightDecay, momentum }) => sgd({ lr, weightDecay, momentum }),
    lr: 0.1,
    weightDecay: 0,
    momentum: 0.9,
    trains: "all",
  },
  "lion": {
    make: ({ lr, weightDecay, momentum: beta1 }) => lion({ lr, weightDecay, beta1 }),
    lr: 0.0006,
    weightDecay: 0.5,
    momentum: 0.9,
    trains: "all",
  },
  "soap": {
    make: ({ lr, weightDecay, momentum: beta1 }) => soap({ lr, weightDecay, beta1 }),
    lr: 0.003,
    weightDecay: 0.01,
    momentum: 0.95,
    trains: "hidden",
  },
  "muon": {
    make: ({ lr, weightDecay, momentum }) => muon({ lr, weightDecay, momentum }),
    lr: 0.02,
    weightDecay: 0,
    momentum: 0.95,
    trains: "hidden",
  },
};

/**
 * The optimizers of a run.
 *
 * @throws {RangeError} If a hyper-parameter is out of range or the optimizer is unknown.
 */
export function runOptimizer(config: StepConfig): OptimizerPartition {
  const choice = Object.hasOwn(OPTIMIZERS, config.optimizer) ? OPTIMIZERS[config.optimizer] : undefined;
  if (!choice) {
    throw new RangeError(
      `The optimizer must be one of ${Object.keys(OPTIMIZERS).join(", ")}, got ${config.optimizer}`,
    );
  }
  const optimizer = choice.make(config);
  if (!hasAdamWBeside(config)) return partition([{ optimizer }]);
  return partition([{ owns: hiddenMatrices, optimizer }, { optimizer: adamw({ lr: config.adamwLr }) }]);
}

/** Whether a run's optimizer trains the hidden weight matrices alone and AdamW the rest. */
export function hasAdamWBeside(
  config: { readonly optimizer?: unknown; readonly koalaScope?: unknown },
): boolean {
  const trains = OPTIMIZERS[String(config.optimizer)]?.trains;
  return trains === "hidden" || (trains === "koala-scope" && config.koalaScope === "hidden");
}
