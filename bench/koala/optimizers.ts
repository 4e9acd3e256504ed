/**
 * The optimizers as `train-lm` sets them up, with the hyper-parameters that the peers have too.
 *
 * @module
 */
import type { OptimizerPartition } from "../../optim/partition.ts";
import type { RunConfig } from "../../training/run/config.ts";
import { OPTIMIZERS, runOptimizer } from "../../training/run/optimizer.ts";

/** Learning rate of AdamW everywhere in the bench. */
export const ADAMW_LR = 1e-3;

/** The paper's algorithm is `koala++`; this is what `train-lm` takes by default. */
export const ORTHOGONAL = "koala++ orthogonal";

/** Makes the optimizers of a run: one for all parameters, or one for hidden matrices and AdamW for the rest. */
export function benchOptimizer(choice: string): OptimizerPartition {
  const name = choice === ORTHOGONAL ? "koala++" : choice;
  const config: Partial<RunConfig> = {
    optimizer: name,
    koalaScope: "hidden",
    lr: name === "adamw" ? ADAMW_LR : OPTIMIZERS[name].lr,
    adamwLr: ADAMW_LR,
    weightDecay: 0,
    sigma: 0.1,
    q: 0.1,
    r: "variance",
    symmetric: true,
    ...(choice === ORTHOGONAL ? { r: 0, momentum: 0.9, orthogonal: "unit" } : {}),
  };
  return runOptimizer(config as RunConfig);
}
