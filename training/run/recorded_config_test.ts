import { deepEqual, throws } from "node:assert/strict";
import { recordedConfig } from "./recorded_config.ts";

/** What version 1 recorded of any optimizer by default. */
const shared = { koalaScope: "hidden", adamwLr: 0.006, sigma: 0.1, q: 0.1, symmetric: true };
const beside = {
  "adamw.lr": 0.006,
  "adamw.weight-decay": 0.1,
  "adamw.beta1": 0.9,
  "adamw.beta2": 0.95,
  "adamw.eps": 1e-8,
  "adamw.decay-all": false,
};
const filter = { "weight-decay": 0, "alpha-r": 0.9, sigma: 0.1, q: 0.1 };
const covariance = { "covariance": "none", "beta2": 0.95, "shampoo-beta": 0.95, "frequency": 10 };
const koala = { name: "koala++", lr: 0.02, ...filter, symmetric: true, ...covariance };

/** Configurations of version 1, and the optimizers that they were trained with. */
const cases: [Record<string, unknown>, Record<string, unknown>][] = [
  [
    { ...shared, optimizer: "koala++", lr: 0.02, weightDecay: 0, orthogonal: "unit", momentum: 0.9, r: 0 },
    { ...koala, "koala-scope": "hidden", orthogonal: "unit", momentum: 0.9, r: 0, ...beside },
  ],
  [ // From before there were orthogonal steps.
    { ...shared, optimizer: "koala++", lr: 0.02, weightDecay: 0, r: "variance" },
    { ...koala, "koala-scope": "hidden", orthogonal: "none", momentum: 0, r: "variance", ...beside },
  ],
  [
    {
      ...shared,
      optimizer: "koala++",
      koalaScope: "all",
      lr: 0.02,
      weightDecay: 0,
      r: 1,
      orthogonal: "none",
    },
    { ...koala, "koala-scope": "all", orthogonal: "none", momentum: 0, r: 1 },
  ],
  [
    { ...shared, optimizer: "koala-m", lr: 0.02, weightDecay: 0, momentum: 0.8, r: "variance" },
    {
      ...filter,
      ...{ name: "koala-m", "koala-scope": "hidden", lr: 0.02, momentum: 0.8, r: "variance" },
      ...{ "sigma-v": 0.1, "alpha-q": 0.9, "q-v": 0.01 },
      ...beside,
    },
  ],
  [
    {
      ...shared,
      optimizer: "adamw",
      lr: 0.001,
      weightDecay: 0.2,
      momentum: 0.8,
      r: "variance",
      orthogonal: "none",
    },
    { name: "adamw", lr: 0.001, "weight-decay": 0.2, beta1: 0.8, beta2: 0.95, eps: 1e-8, "decay-all": false },
  ],
  [
    { ...shared, optimizer: "lion", lr: 0.0006, weightDecay: 0.5, r: "variance" },
    { name: "lion", lr: 0.0006, "weight-decay": 0.5, beta1: 0.9, beta2: 0.99, "decay-all": false },
  ],
  [
    {
      ...shared,
      optimizer: "soap",
      adamwLr: 0.01,
      lr: 0.003,
      weightDecay: 0.01,
      momentum: 0.95,
      r: "variance",
    },
    {
      ...{ name: "soap", lr: 0.003, "weight-decay": 0.01, beta1: 0.95, beta2: 0.95, "shampoo-beta": 0.95 },
      ...{ eps: 1e-8, frequency: 10, ...beside, "adamw.lr": 0.01 },
    },
  ],
];

Deno.test("recordedConfig() reads a run.json of version 1 as the optimizer that it was trained with", () => {
  for (const [config, optimizer] of cases) {
    const { optimizer: read, ...rest } = recordedConfig(
      { version: 1, config: { ...config, seed: 3 } },
      "run.json",
    );
    deepEqual(read, optimizer);
    deepEqual(rest, { seed: 3 });
    // Written and read again it is the same.
    deepEqual(
      recordedConfig({ version: 2, config: { ...rest, optimizer: read } }, "run.json").optimizer,
      read,
    );
  }
});

Deno.test("recordedConfig() leaves out what is secret in addresses of older records", () => {
  const secret = "https://me:pass@example.org/a.txt?token=1:0.5";
  const config = { ...cases[0][0], data: ["b.txt:0.5", secret], validationData: [secret] };
  const { data, validationData } = recordedConfig({ version: 1, config }, "run.json");
  deepEqual([data, validationData], [
    ["b.txt:0.5", "https://example.org/a.txt:0.5"],
    ["https://example.org/a.txt:0.5"],
  ]);
});

Deno.test("recordedConfig() refuses a version that it does not know", () => {
  throws(
    () => recordedConfig({ version: 3, config: {} }, "a/run.json"),
    /^RangeError: a\/run\.json must be of a version from 1 to 2, got 3/,
  );
  throws(() => recordedConfig({ config: {} }, "run.json"), /got undefined/);
});
