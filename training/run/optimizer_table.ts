/**
 * The optimizers that a run may name: one row of a table for each, with a line for each hyper-parameter.
 *
 * Everything else follows from the table: `--optimizer NAME:KEY=VALUE` and its shortcuts, help texts, defaults, what
 * run.json records and what a resumed run must keep. A new hyper-parameter is an option of its factory and a line here.
 *
 * @module
 */
import { adamw } from "../../optim/adamw.ts";
import { koalaPlusPlus } from "../../optim/koala/koala_plus_plus.ts";
import { koalaM, koalaV } from "../../optim/koala/koala.ts";
import { lion } from "../../optim/lion.ts";
import { muon } from "../../optim/muon.ts";
import { sgd } from "../../optim/sgd.ts";
import { soap } from "../../optim/soap.ts";
import {
  type HyperParameter,
  type NamedHyperParameter,
  type OptimizerChoice,
  optimizerChoice,
} from "./hyper_parameters.ts";

type Defaults = HyperParameter["defaults"];
type Others = Omit<Defaults, "scratch">;
type Scratch = Defaults["scratch"];

/** Learning rates of tuning and of a LoRA are measured on nano models; docs/optimizers.md has the trials. */
const rate = (scratch: number, others: Others = {}): HyperParameter => ({
  type: "number",
  above: 0,
  description: "peak learning rate",
  defaults: { scratch, ...others },
});

/** A LoRA has none: its matrices are 0 where it changes nothing. */
const weightDecay = (scratch: number): HyperParameter => ({
  type: "number",
  min: 0,
  description: "weight decay: coupled for the KOALA optimizers and SGD, decoupled for the others",
  defaults: { scratch, lora: 0 },
});

const share = (scratch: Scratch, description: string): HyperParameter => ({
  type: "number",
  min: 0,
  below: 1,
  description,
  defaults: { scratch },
});

const noise = (scratch: Scratch, description: string): HyperParameter => ({
  type: "number",
  min: 0,
  description,
  defaults: { scratch },
});

const flag = (scratch: boolean, description: string): HyperParameter => ({
  type: "boolean",
  description,
  defaults: { scratch },
});

const count = (scratch: number, description: string): HyperParameter => ({
  type: "integer",
  min: 1,
  description,
  defaults: { scratch },
});

/** Called so whatever the factory says, and in the dashed options. */
const MOMENTUM = "momentum";
const GRADIENTS = "decay of the average of gradients";
const SQUARES = "decay of the average of their squares";

const measurementNoise = (scratch: Scratch): HyperParameter => ({
  type: "number",
  min: 0,
  choices: ["variance", "second-moment"],
  description: "measurement noise: a number, or the statistic of the losses that is averaged",
  defaults: { scratch },
});
const ALPHA_R = share(0.9, "decay of the average that the measurement noise is");
const SIGMA = noise(0.1, "initial variance of each parameter");
const EPS: HyperParameter = {
  type: "number",
  above: 0,
  description: "added to the denominator",
  defaults: { scratch: 1e-8 },
};
const DECAY_ALL = flag(false, "decay biases, norms and embeddings too");

/** Optimizers that a run may name. */
export const OPTIMIZERS: Readonly<Record<string, OptimizerChoice>> = {
  // What its defaults do together is measured in docs/optimizers.md: with orthogonal steps it measures along an
  // average and without noise, without them it is the paper's algorithm.
  "koala++": optimizerChoice(koalaPlusPlus, "koala-scope", {
    lr: rate(0.02, { tuning: 0.005, lora: 0.1 }),
    weightDecay: weightDecay(0),
    orthogonal: {
      type: "choice",
      choices: ["none", "gain", "unit"],
      description:
        "orthogonalise a matrix's step, at the length that the filter's gain gives it or at Muon's; none: " +
        "the paper's algorithm",
      defaults: {
        scratch: {
          of: ({ "koala-scope": scope }) => scope === "hidden" ? "unit" : "none",
          words: "unit, with koala-scope=all none",
        },
        lora: "none",
      },
    },
    beta: {
      ...share(
        { of: ({ orthogonal }) => orthogonal === "none" ? 0 : 0.9, words: "0.9, with orthogonal=none 0" },
        GRADIENTS,
      ),
      name: MOMENTUM,
    },
    r: measurementNoise({
      of: ({ orthogonal }) => orthogonal === "none" ? "variance" : 0,
      words: "0, with orthogonal=none variance",
    }),
    alphaR: ALPHA_R,
    sigma: SIGMA,
    q: noise(0.1, "process noise"),
    symmetric: flag(true, "the symmetric variant of KOALA++, instead of the vanilla one"),
    covariance: {
      type: "choice",
      choices: ["none", "one-sided", "kronecker"],
      description:
        "scale an orthogonal step by the noise's covariance before, in the eigenbasis of a matrix's shorter side " +
        "or of both",
      defaults: { scratch: "none" },
    },
    beta2: share(0.95, "with a covariance: decay of the averages of squares in its eigenbasis"),
    shampooBeta: share(0.95, "with a covariance: decay of the average of the gradients' products"),
    frequency: count(10, "with a covariance: steps between two refreshes of the bases"),
  }),
  "koala-v": optimizerChoice(koalaV, "koala-scope", {
    lr: rate(0.02),
    weightDecay: weightDecay(0),
    r: measurementNoise("variance"),
    alphaR: ALPHA_R,
    sigma: SIGMA,
    q: noise(0.1, "process noise"),
  }),
  "koala-m": optimizerChoice(koalaM, "koala-scope", {
    lr: rate(0.02),
    weightDecay: weightDecay(0),
    a: { ...share(0.9, "decay of the velocities"), name: MOMENTUM },
    r: measurementNoise("variance"),
    alphaR: ALPHA_R,
    sigma: SIGMA,
    sigmaV: noise(0.1, "initial variance of each velocity"),
    q: noise(0.1, "process noise of parameters at first"),
    alphaQ: {
      type: "number",
      min: 0,
      max: 1,
      description: "decay of the average that the process noise of parameters is; 1 keeps it as it starts",
      defaults: { scratch: 0.9 },
    },
    qV: noise(0.01, "process noise of velocities"),
  }),
  "adamw": optimizerChoice(adamw, "all", {
    lr: rate(0.003, { tuning: 0.001, lora: 0.01 }),
    weightDecay: weightDecay(0.1),
    beta1: { ...share(0.9, GRADIENTS), also: MOMENTUM },
    beta2: share(0.95, SQUARES),
    eps: EPS,
    decayAll: DECAY_ALL,
  }),
  "sgd": optimizerChoice(sgd, "all", {
    lr: rate(0.1),
    weightDecay: weightDecay(0),
    momentum: share(0.9, "decay of the sum of gradients"),
    nesterov: flag(false, "Nesterov's momentum"),
  }),
  "lion": optimizerChoice(lion, "all", {
    lr: rate(0.0006),
    weightDecay: weightDecay(0.5),
    beta1: { ...share(0.9, "share of the average of gradients in a step's direction"), also: MOMENTUM },
    beta2: share(0.99, GRADIENTS),
    decayAll: DECAY_ALL,
  }),
  "soap": optimizerChoice(soap, "hidden", {
    lr: rate(0.003, { tuning: 0.001 }),
    weightDecay: weightDecay(0.01),
    beta1: { ...share(0.95, GRADIENTS), also: MOMENTUM },
    beta2: share(0.95, `${SQUARES} in the eigenbasis`),
    shampooBeta: share(0.95, "decay of the average of the gradients' products"),
    eps: EPS,
    frequency: count(10, "steps between two refreshes of the bases"),
  }),
  "muon": optimizerChoice(muon, "hidden", {
    lr: rate(0.02, { tuning: 0.005 }),
    weightDecay: weightDecay(0),
    momentum: share(0.95, GRADIENTS),
    nesterov: flag(true, "Nesterov's momentum"),
    steps: count(5, "Newton-Schulz steps"),
    scale: {
      type: "choice",
      choices: ["original", "match-rms-adamw"],
      description: "how a matrix's shape scales its step: the author's way, or to the size of AdamW's",
      defaults: { scratch: "original" },
    },
  }),
};

/** AdamW of the parameters that an optimizer of hidden matrices leaves. */
export const BESIDE: OptimizerChoice["options"] = {
  ...OPTIMIZERS.adamw.options,
  lr: {
    ...rate(0.006, { tuning: 0.0015 }),
    description: "peak learning rate of AdamW beside an optimizer of hidden weight matrices",
  },
};
/** What a row has besides whose optimizer trains what it says. */
export const SCOPE: NamedHyperParameter = {
  name: "koala-scope",
  type: "choice",
  choices: ["hidden", "all"],
  description: "what a KOALA optimizer trains: the hidden weight matrices, with AdamW for the rest, or all",
  defaults: { scratch: "hidden" },
};
