/**
 * The options of the optimizer and its learning rate, and what they say in a configuration.
 *
 * @module
 */
import { SCHEDULE_KINDS } from "../../optim/schedule.ts";
import type { RunConfig } from "../../training/run/config.ts";
import { OPTIMIZERS } from "../../training/run/optimizer.ts";
import type { OptionValues } from "../command/command_line.ts";

const OPTIM = "Optimizer";

/** Defaults of KOALA++ where its steps are orthogonal; docs/optimizers.md has the measurements. */
const ORTHOGONAL = { momentum: 0.9, r: 0 };

/** What differs from 0 by default, for every optimizer. */
function defaultsOf(key: "lr" | "loraLr" | "weightDecay" | "momentum"): string {
  return Object.entries(OPTIMIZERS).filter(([, choice]) => (choice[key] ?? 0) > 0)
    .map(([name, choice]) => `${name} ${choice[key]}`).join(", ");
}

/** The optimizer. */
export const optimizerOptions = {
  "optimizer": {
    type: "choice",
    choices: Object.keys(OPTIMIZERS),
    group: OPTIM,
    description: "optimizer (default: koala++, of a LoRA adamw)",
  },
  "koala-scope": {
    type: "choice",
    choices: ["hidden", "all"],
    default: "hidden",
    group: OPTIM,
    description:
      "what the KOALA optimizers train: the hidden weight matrices, with AdamW for the rest, or all",
  },
  "lr": {
    type: "number",
    above: 0,
    group: OPTIM,
    description: `peak learning rate (default: ${defaultsOf("lr")}; of a LoRA: ${defaultsOf("loraLr")})`,
  },
  "adamw-lr": {
    type: "number",
    above: 0,
    default: 0.006,
    group: OPTIM,
    description: "peak learning rate of AdamW beside an optimizer of hidden weight matrices",
  },
  "weight-decay": {
    type: "number",
    min: 0,
    group: OPTIM,
    description: `weight decay (default: ${defaultsOf("weightDecay")}; others and any LoRA 0)`,
  },
  "momentum": {
    type: "number",
    min: 0,
    below: 1,
    group: OPTIM,
    description:
      `decay of the average of gradients, also known as beta1 (default: koala++ ${ORTHOGONAL.momentum}, or 0 ` +
      `where steps are not orthogonal; ${defaultsOf("momentum")})`,
  },
  "sigma": {
    type: "number",
    min: 0,
    default: 0.1,
    group: OPTIM,
    description: "initial variance of the KOALA optimizers",
  },
  "q": {
    type: "number",
    min: 0,
    default: 0.1,
    group: OPTIM,
    description: "process noise of the KOALA optimizers",
  },
  "r": {
    type: "number",
    min: 0,
    choices: ["variance", "second-moment"],
    group: OPTIM,
    description:
      "measurement noise of the KOALA optimizers (default: variance; 0 where steps are orthogonal)",
  },
  "symmetric": {
    type: "boolean",
    default: true,
    group: OPTIM,
    description: "KOALA++'s symmetric variant; --no-symmetric for the vanilla one",
  },
  "orthogonal": {
    type: "choice",
    choices: ["none", "gain", "unit"],
    group: OPTIM,
    description:
      "KOALA++: orthogonalise a matrix's step, at the length the filter's gain gives it or at Muon's; none: the paper's " +
      "algorithm (default: unit; none with --koala-scope all and of a LoRA)",
  },
  "clip": {
    type: "number",
    min: 0,
    default: 1,
    group: OPTIM,
    description: "largest gradient norm; 0 for none",
  },
} as const;

/** The learning rate over a run. */
export const scheduleOptions = {
  "schedule": {
    type: "choice",
    choices: SCHEDULE_KINDS,
    default: "warmup-cosine",
    group: OPTIM,
    description: "learning rate over the run",
  },
  "warmup": {
    type: "integer",
    min: 0,
    group: OPTIM,
    description: "steps of warm-up (default: 5% of the steps)",
  },
  "min-lr-ratio": {
    type: "number",
    min: 0,
    max: 1,
    default: 0.1,
    group: OPTIM,
    description: "last learning rate as a share of the peak",
  },
} as const;

/** Values that decide an optimizer. */
export type OptimizerValues = OptionValues<typeof optimizerOptions>;

/** The part of a configuration that is the optimizer's. */
export function optimizerConfig(values: OptimizerValues): Pick<
  RunConfig,
  | "optimizer"
  | "koalaScope"
  | "lr"
  | "adamwLr"
  | "weightDecay"
  | "sigma"
  | "q"
  | "r"
  | "symmetric"
  | "momentum"
  | "orthogonal"
  | "clip"
> {
  const { optimizer = "koala++" } = values;
  return {
    optimizer,
    koalaScope: values.koalaScope,
    lr: values.lr ?? OPTIMIZERS[optimizer].lr,
    adamwLr: values.adamwLr,
    weightDecay: values.weightDecay ?? OPTIMIZERS[optimizer].weightDecay,
    sigma: values.sigma,
    q: values.q,
    ...dependentOptions({ ...values, optimizer }),
    symmetric: values.symmetric,
    clip: values.clip,
  };
}

/** The options whose defaults depend on others. */
function dependentOptions(
  { optimizer, koalaScope, orthogonal, momentum, r }: OptimizerValues & { optimizer: string },
): Pick<RunConfig, "orthogonal" | "momentum" | "r"> {
  const isKoala = optimizer === "koala++";
  const shape = orthogonal ?? (isKoala && koalaScope === "hidden" ? "unit" : "none");
  const defaults = isKoala && shape !== "none"
    ? ORTHOGONAL
    : { momentum: OPTIMIZERS[optimizer].momentum, r: "variance" };
  return {
    orthogonal: shape as RunConfig["orthogonal"],
    momentum: momentum ?? defaults.momentum,
    r: (r ?? defaults.r) as RunConfig["r"],
  };
}

/**
 * The options with the defaults of a LoRA where they are not given: AdamW, since adapters learn faster with it than
 * with KOALA++, each at its best rate (measured on gpt2-nano and llama-nano).
 */
export function withLoraDefaults<V extends OptimizerValues>(values: V): V {
  const { optimizer = "adamw" } = values;
  const lr = values.lr ?? OPTIMIZERS[optimizer].loraLr ?? OPTIMIZERS[optimizer].lr;
  const { weightDecay = 0, orthogonal = "none" } = values;
  return { ...values, optimizer, lr, weightDecay, orthogonal };
}
