/**
 * The optimizers as `train-lm` sets them up, with the hyper-parameters that the peers have too.
 *
 * @module
 */
import type { OptimizerPartition } from "../../optim/partition.ts";
import { hasAdamWBeside, resolveOptimizer, runOptimizer } from "../../training/run/optimizer.ts";

/** Learning rate of AdamW everywhere in the bench. */
export const ADAMW_LR = 1e-3;

/** The paper's algorithm is `koala++`; this is what `train-lm` takes by default. */
export const ORTHOGONAL = "koala++ orthogonal";

/** Makes the optimizers of a run: one for all parameters, or one for hidden matrices and AdamW for the rest. */
export function benchOptimizer(choice: string): OptimizerPartition {
  const name = choice === ORTHOGONAL ? "koala++" : choice;
  const { lr } = resolveOptimizer(name);
  const optimizer = resolveOptimizer(name, {
    "lr": name === "adamw" ? ADAMW_LR : lr,
    "weight-decay": 0,
    ...(name === "koala++" && choice !== ORTHOGONAL ? { orthogonal: "none" } : {}),
    ...(hasAdamWBeside(resolveOptimizer(name)) ? { "adamw.lr": ADAMW_LR } : {}),
  });
  return runOptimizer({ optimizer });
}
