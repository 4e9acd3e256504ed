import { deepEqual, equal, notEqual, throws } from "node:assert/strict";
import { gpt2 } from "../../models/gpt2.ts";
import { recordStep } from "../step/recording.ts";
import { languageModelLoss } from "../step/trainer.ts";
import type { HyperValue, HyperValues, NamedHyperParameter, OptimizerConfig } from "./hyper_parameters.ts";
import { hyperParameters, resolveOptimizer, runOptimizer } from "./optimizer.ts";
import { OPTIMIZERS } from "./optimizer_table.ts";

const model = gpt2({ vocab_size: 32, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2 });
const profile = { subgroupSize: 32, isSoftware: false, maxBindingBytes: 2 ** 30, maxBufferBytes: 2 ** 30 };

/** All that the GPU is given over the first steps. */
function programOf(config: OptimizerConfig): string {
  const optimizer = runOptimizer({ optimizer: config });
  const { graph } = recordStep(profile, { record: languageModelLoss(model, 2, 8), optimizer });
  const scalars = optimizer.optimizers.map((o) => [0, 11, 20].map((step) => o.scalars(step, 1)));
  const constants = graph.constants.map(({ values }) => [...values]);
  return JSON.stringify([graph.updateKernels.map(({ code }) => code), constants, scalars]);
}

/** An allowed value that is not the default. */
function another(p: NamedHyperParameter, value: HyperValue): HyperValue {
  if (p.type === "boolean") return !value;
  if (p.type === "choice") return p.choices.find((word) => word !== value)!;
  return p.type === "integer" ? Number(value) + 1 : typeof value === "number" ? (value + 0.03) / 2 : 0.5;
}

/** What those that count with another's value only are tried with. */
const covariance = { covariance: "kronecker" };
const counts: Readonly<Record<string, HyperValues>> = {
  "koala++ beta2": covariance,
  "koala++ shampoo-beta": covariance,
  "koala++ frequency": covariance,
};

for (const name of Object.keys(OPTIMIZERS)) {
  Deno.test(`every hyper-parameter of ${name} changes what is computed`, () => {
    for (const p of hyperParameters(name)) {
      const standard = resolveOptimizer(name, counts[`${name} ${p.name}`]);
      const program = programOf(standard);
      const value = another(p, standard[p.name]);
      const changed = { ...standard, [p.name]: value } as OptimizerConfig;
      // Without AdamW beside it there are none of its hyper-parameters.
      const config = value === "all" ? resolveOptimizer(name, { [p.name]: value }) : changed;
      notEqual(programOf(config), program, `${p.name}=${value}`);
    }
  });
}

Deno.test("resolveOptimizer() gives what a run takes by default", () => {
  deepEqual(resolveOptimizer("koala++"), {
    "name": "koala++",
    "koala-scope": "hidden",
    "lr": 0.02,
    "weight-decay": 0,
    "orthogonal": "unit",
    "momentum": 0.9,
    "r": 0,
    "alpha-r": 0.9,
    "sigma": 0.1,
    "q": 0.1,
    "symmetric": true,
    "covariance": "none",
    "beta2": 0.95,
    "shampoo-beta": 0.95,
    "frequency": 10,
    "adamw.lr": 0.006,
    "adamw.weight-decay": 0.1,
    "adamw.beta1": 0.9,
    "adamw.beta2": 0.95,
    "adamw.eps": 1e-8,
    "adamw.decay-all": false,
  });
  const rates = Object.keys(OPTIMIZERS).map((name) => [name, resolveOptimizer(name).lr]);
  deepEqual(Object.fromEntries(rates), {
    "koala++": 0.02,
    "koala-v": 0.02,
    "koala-m": 0.02,
    "adamw": 0.003,
    "sgd": 0.1,
    "lion": 0.0006,
    "soap": 0.003,
    "muon": 0.02,
  });
});

Deno.test("defaults follow from what is given, and from what the run starts from", () => {
  const { orthogonal, momentum, r, "adamw.lr": beside } = resolveOptimizer("koala++", {
    "koala-scope": "all",
  });
  deepEqual([orthogonal, momentum, r, beside], ["none", 0, "variance", undefined]);
  const tuned = resolveOptimizer("koala++", {}, "tuning");
  deepEqual([tuned.lr, tuned["adamw.lr"], tuned.orthogonal, tuned.momentum], [0.005, 0.0015, "unit", 0.9]);
  equal(resolveOptimizer("adamw", {}, "tuning").lr, 0.001);
  equal(resolveOptimizer("adamw", { lr: 0.1 }, "tuning").lr, 0.1);
  const lora = resolveOptimizer("koala++", {}, "lora");
  deepEqual([lora.lr, lora.orthogonal, lora.momentum, lora.r], [0.1, "none", 0, "variance"]);
  const adamw = resolveOptimizer("adamw", { momentum: 0.8 }, "lora");
  deepEqual([adamw.lr, adamw["weight-decay"], adamw.beta1, adamw.momentum], [0.01, 0, 0.8, undefined]);
});

Deno.test("what an optimizer does not take is refused with what it takes", () => {
  throws(() => resolveOptimizer("adam"), /^RangeError: The optimizer must be one of koala\+\+, .*got adam$/);
  throws(
    () => resolveOptimizer("sgd", { sigma: 1 }),
    /^RangeError: sgd takes lr, weight-decay, momentum, nesterov, got sigma; leave it out$/,
  );
  throws(
    () => resolveOptimizer("koala++", { "koala-scope": "all", "adamw.lr": 1 }),
    /koala\+\+ with koala-scope=all takes .*frequency, got adamw\.lr/,
  );
  throws(() => runOptimizer({ optimizer: { name: "sgd", lr: 1, beta2: 0.9 } }), /sgd takes .*got beta2/);
});
