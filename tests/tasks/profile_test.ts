import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { runTask } from "../cli.ts";

const config = { model_type: "gpt2", n_positions: 32, n_embd: 32, n_layer: 2, n_head: 2 };

/** Runs the task on a tiny model with two micro-batches. */
async function profileTiny(...args: string[]) {
  const dir = await Deno.makeTempDir();
  try {
    const model = join(dir, "config.json");
    await Deno.writeTextFile(model, JSON.stringify(config));
    const size = "--seq-len 16 --batch-size 4 --grad-accum 2 --vocab-size 300".split(" ");
    return await runTask("profile", ["--model", model, ...size, "--steps", "2", ...args]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const near = (a: number, b: number) => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));

Deno.test("profile --json accounts for the whole step", async () => {
  // Orthogonal steps are products too, which are not the model's.
  const { code, stdout, stderr } = await profileTiny("--json", "--orthogonal", "none");
  equal(code, 0, stderr);
  const report = JSON.parse(stdout);
  const { step, parts, kernels, ceilings, model_flops, memory_bytes } = report;
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  type Row =
    & Record<"label", string>
    & Record<"count" | "ms_per_step" | "share" | "bytes" | "gb_per_s", number>;
  const rows: Row[] = kernels;

  // Parts of the step, and the kernels in them.
  const partsOf = (key: "ms" | "share"): number[] =>
    Object.values<Record<string, number>>(parts).map((p) => p[key]);
  ok(near(sum(partsOf("share")), 1), `shares sum to ${sum(partsOf("share"))}`);
  ok(near(sum(partsOf("ms")), step.alone_ms));
  ok(step.spread >= 1);
  ok(near(sum(rows.map((k) => k.share)), parts.kernels.share));
  ok(near(sum(rows.map((k) => k.ms_per_step)), parts.kernels.ms));
  equal(sum(rows.map((k) => k.count)), step.kernels);
  const times = rows.map((k) => k.ms_per_step);
  deepEqual(times, times.toSorted((a, b) => b - a));
  for (const k of rows) ok(k.bytes > 0 && k.gb_per_s > 0 && k.ms_per_step > 0, k.label);

  // Products and attention declare their operations: those of the model and no less, since causal attention
  // computes scores again in its backward pass.
  const declared = sum(kernels.map((k: { flops: number | null; count: number }) => (k.flops ?? 0) * k.count));
  ok(declared >= model_flops.per_step && declared < 1.5 * model_flops.per_step, `${declared} operations`);
  equal(model_flops.product_parameters, 2 * 12 * 32 * 32 + 300 * 32);
  equal(model_flops.per_token, 6 * model_flops.product_parameters + 12 * 2 * 32 * 16 / 2);
  equal(step.tokens, 2 * 4 * 16);
  ok(near(model_flops.per_step, model_flops.per_token * step.tokens));
  const longer = (k: Row & { flops: number | null }) =>
    Math.max((k.flops ?? 0) / ceilings.multiply_add_gflops, k.bytes / ceilings.kernel_copy_gb_per_s);
  ok(
    near(
      step.at_ceilings_ms,
      sum(kernels.map((k: Row & { flops: number | null }) => k.count * longer(k))) / 1e6,
    ),
  );
  ok(near(step.tokens_per_second, step.tokens / step.in_a_row_ms * 1000));
  ok(near(model_flops.utilization, model_flops.gflops / ceilings.multiply_add_gflops));
  ok(model_flops.utilization > 0 && Object.values<number>(ceilings).every((rate) => rate > 0));

  const { total, ...classes } = memory_bytes;
  equal(total, sum(Object.values(classes)));
  ok(Object.values<number>(classes).every((bytes) => bytes > 0), JSON.stringify(classes));
  equal(report.parameters, 2 * (12 * 32 * 32 + 13 * 32) + 2 * 32 + 300 * 32 + 32 * 32);
});

Deno.test("profile prints a table and its summary", async () => {
  const { code, stdout, stderr } = await profileTiny("--optimizer", "adamw");
  equal(code, 0, stderr);
  match(stdout, /^kernel +reads > writes +workgroups +count +ms\/step/m);
  match(stdout, /^all kernels +\d+ +[\d.]+ +[\d.]+%$/m);
  for (
    const line of [
      "step alone ",
      "  kernels ",
      "in a row: ",
      "roofline: ",
      "peak: ",
      "copy: ",
      "model FLOPs: ",
      "GPU memory: ",
    ]
  ) {
    ok(stdout.includes(`\n${line}`), `${line} is missing in ${stdout}`);
  }
});

Deno.test("profile refuses bad input with one message", async () => {
  const cases: [string[], 1 | 2, RegExp][] = [
    [["--steps", "0"], 2, /--steps must be an integer of at least 1, received "0"/],
    [["--seq-len", "64"], 2, /--seq-len must be at most 32/],
    [["--data", "books"], 2, /unknown option --data/],
    [["--model", "nope"], 2, /--model must be one of gpt2-nano.*got nope/],
    [["--model", "none.json"], 1, /none\.json/],
  ];
  for (const [args, exit, message] of cases) {
    const { code, stdout, stderr } = await profileTiny(...args);
    equal(code, exit, stderr);
    match(stderr, message);
    equal(stdout, "");
  }
});
