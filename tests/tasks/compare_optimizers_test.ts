import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { holdFolder } from "../../files/lock_file.ts";
import { exists, filesIn, refused, runTask, signalTask, tinyRun } from "../cli.ts";

/** Options that compare two optimizers in seconds; the tiny run's own options of a run's intervals are left out. */
async function tinyComparison() {
  const tiny = await tinyRun();
  const shared = tiny.options.slice(0, tiny.options.indexOf("--sample-tokens"));
  const small = "--seeds 2 --extensions 1 --eval-points 4 --timing-rounds 3".split(" ");
  const entries = ["--optimizers", "adamw,koala++:q=0.2", "--lr", "adamw=0.003,0.01", "koala++=0.02"];
  return { tiny, options: [...shared, ...small, ...entries] };
}

Deno.test("compare-optimizers has its folder for itself", async () => {
  const { tiny, options } = await tinyComparison();
  await using _ = tiny;
  using _lock = await holdFolder(tiny.dir, "the folder");
  const refusal = await runTask("compare-optimizers", [...options, "--out", tiny.dir]);
  refused(refusal, 1, new RegExp(`Only one process at a time .* process ${Deno.pid} since`));
});

Deno.test("compare-optimizers leaves a report and its numbers, and does not run again what is done", async () => {
  const { tiny, options } = await tinyComparison();
  await using _ = tiny;
  const out = join(tiny.dir, "comparison");
  const { code, stdout, stderr } = await runTask("compare-optimizers", [...options, "--out", out, "--json"]);
  equal(code, 0, stderr);
  const report = JSON.parse(stdout);
  deepEqual([report.complete, report.reference, report.seeds], [true, "adamw", [0, 1]]);
  equal(report.setting.tokens_per_step, 4 * 16);
  type Optimizer = {
    name: string;
    rates: { lr: number; loss: number }[];
    best_lr: number;
    seeds: { seed: number; lr: number; loss: number; curve: { step: number }[] }[];
    step: { ms: number };
  };
  const optimizers: Optimizer[] = report.optimizers;
  deepEqual(optimizers.map((o) => o.name).sort(), ["adamw", "koala++:q=0.2"]);
  for (const { name, rates, best_lr, seeds, step } of optimizers) {
    // Untrained, the model is at ln 300 = 5.7.
    ok(rates.every(({ loss }) => loss > 1 && loss < 5.7), JSON.stringify(rates));
    equal(best_lr, rates.toSorted((a, b) => a.loss - b.loss)[0].lr);
    deepEqual(seeds.map((run) => [run.seed, run.lr]), [[0, best_lr], [1, best_lr]]);
    for (const run of seeds) deepEqual(run.curve.map((point) => point.step), [6, 12, 18, 24]);
    ok(step.ms > 0);
    // Two rates and one more beyond the border for AdamW, the one that was given for KOALA++.
    equal(rates.length, name === "adamw" ? 3 : 1);
  }
  deepEqual((await filesIn(out)).map((name) => name.replace(/-[0-9a-f]{12}/, "")), [
    "comparison.json",
    "report.html",
    "steps.json",
    "trials",
  ]);
  equal((await filesIn(join(out, "trials"))).length, 3 + 1 + 2);
  deepEqual(JSON.parse(await Deno.readTextFile(join(out, "comparison.json"))), report);
  const html = await Deno.readTextFile(join(out, "report.html"));
  match(html, /<title>Optimizers compared on /);

  const again = await runTask("compare-optimizers", [...options, "--out", out, "--json"]);
  equal(again.code, 0, again.stderr);
  deepEqual(JSON.parse(again.stdout), report);
  equal(again.stderr.match(/\(done before\)/g)?.length, 6);
  ok(!/ left( unknown)?\)$/m.test(again.stderr), again.stderr);

  // Another seed adds its two runs to those that are there.
  const more = await runTask("compare-optimizers", [
    ...options,
    "--out",
    out,
    "--seeds",
    "3",
    "--timing-rounds",
    "0",
  ]);
  equal(more.code, 0, more.stderr);
  equal(more.stdout.match(/^run .* left( unknown)?\)$/gm)?.length, 2);
  match(more.stdout, /^optimizer +best lr +validation loss +minus adamw's/m);
  match(more.stdout, /has the lowest validation loss: .* over 3 seeds/);
  match(more.stdout, /report: .*report\.html$/m);
});

Deno.test(
  "Ctrl-C stops a comparison with exit code 130, and the same command ends it as if nothing had been",
  {
    ignore: Deno.build.os === "windows",
  },
  async () => {
    const { tiny, options } = await tinyComparison();
    await using _ = tiny;
    const [whole, stopped] = ["whole", "stopped"].map((name) => join(tiny.dir, name));
    const args = (out: string) => [...options, "--out", out, "--json"];
    // Whatever the clock decides: times, costs, and what was read from a curve at a time.
    const byClock = (key: string, value: unknown) =>
      ["seconds", "curve_loss_at_equal_time"].includes(key) || (key === "step" && typeof value === "object");
    const timeless = (stdout: string) =>
      JSON.parse(stdout, (key, value) => byClock(key, value) ? undefined : value);
    const complete = await runTask("compare-optimizers", args(whole));
    equal(complete.code, 0, complete.stderr);
    // The folder appears with the first run that is done.
    const { code, stdout, stderr } = await signalTask("compare-optimizers", args(stopped), {
      path: join(stopped, "trials"),
      delay: 50,
      signal: "SIGINT",
    });
    equal(code, 130, stderr);
    match(stderr, /stopped; the same command goes on with what is left/);
    equal(JSON.parse(stdout).complete, false);
    ok(await exists(join(stopped, "report.html")));
    const kept = (await filesIn(join(stopped, "trials"))).length;
    ok(kept >= 1 && kept < 6, `${kept} of 6 runs were done`);
    const resumed = await runTask("compare-optimizers", args(stopped));
    equal(resumed.code, 0, resumed.stderr);
    equal(resumed.stderr.match(/\(done before\)/g)?.length, kept);
    deepEqual(timeless(resumed.stdout), timeless(complete.stdout));
  },
);

Deno.test("compare-optimizers refuses bad input with one message and leaves nothing behind", async () => {
  const { tiny, options } = await tinyComparison();
  await using _ = tiny;
  const out = join(tiny.dir, "runs", "out");
  const before = await filesIn(tiny.dir);
  const cases: [string[], 1 | 2, RegExp][] = [
    [["--optimizers", "adam"], 2, /must be one of koala\+\+.*did you mean adamw\?/],
    [["--optimizers", "koala++:q=x"], 2, /--optimizers koala\+\+:q=x: q must be a number/],
    [["--lr", "0.1"], 2, /--lr must name an optimizer that takes part \(adamw, koala\+\+\)/],
    [["--lr", "adamw=-1"], 2, /learning rates must be numbers greater than 0, received "-1"/],
    [["--optimizers", "adamw,adamw"], 2, /--optimizers must differ, received adamw twice/],
    [["--seeds", "0"], 2, /--seeds must be an integer of at least 1/],
    [["--epochs", "1"], 2, /unknown option --epochs/],
    [["--seq-len", "64"], 2, /--seq-len must be at most 32/],
    [["--data", join(tiny.dir, "missing.txt")], 1, /there is no file or folder .*missing\.txt/],
  ];
  for (const [args, exit, message] of cases) {
    // --optimizers and --lr may be given many times, so the good ones have to go.
    const good = args[0] === "--optimizers" ? options.slice(0, options.indexOf("--optimizers")) : options;
    refused(await runTask("compare-optimizers", [...good, ...args, "--out", out]), exit, message);
    deepEqual(await filesIn(tiny.dir), before, `${args} must leave nothing behind`);
  }
});
