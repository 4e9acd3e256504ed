import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { Contestant, FinishedTrial } from "./comparison.ts";
import { comparisonHtml } from "./report.ts";
import { type ComparisonSetting, lossAt, summarize } from "./summary.ts";
import { lossText, verdict, warnings } from "./words.ts";
import type { StepCost } from "./step_race.ts";

const setting: ComparisonSetting = {
  model: "a</script><b>",
  parameters: 1000,
  data: ["books & more"],
  vocab_size: 300,
  train_tokens: 5000,
  validation_tokens: 400,
  steps: 100,
  tokens_per_step: 64,
  seq_len: 16,
  batch_size: 4,
  grad_accum: 1,
  schedule: "warmup-cosine",
  warmup: 5,
  min_lr_ratio: 0.1,
  curve_tokens: 128,
  timing_rounds: 3,
  adapter: "an adapter",
  software: true,
  deno: "2",
};
const contestant = (name: string, rates: number[]) =>
  ({
    name,
    rates,
    config: { optimizer: { name: name.split(":")[0], lr: 1 }, seed: 0 },
  }) as unknown as Contestant;
const trial = (entry: string, lr: number, seed: number, loss: number | null): FinishedTrial => ({
  entry,
  lr,
  seed,
  loss,
  bits_per_byte: loss && loss / 2,
  diverged_at: loss === null ? 7 : null,
  curve: loss === null
    ? []
    : [{ step: 50, train_loss: 6, loss: loss + 1 }, { step: 100, train_loss: 5, loss }],
  seconds: 1,
});
const cost = (ms: number, ratio: number): StepCost => ({
  ms,
  ratio,
  ratio_quartiles: [ratio - 0.02, ratio + 0.02],
  fastest_ms: ms / 2,
  fastest_ratio: ratio,
  state_bytes_per_parameter: 8,
  planned_bytes: 2e6,
});

const contestants = [
  contestant("adamw", [1, 2, 4]),
  contestant("koala++:q=0.05", [1, 2]),
  contestant("sgd", [1]),
];
const trials = [
  trial("adamw", 1, 0, 5),
  trial("adamw", 2, 0, 4),
  trial("adamw", 4, 0, null),
  trial("koala++:q=0.05", 1, 0, 3.5),
  trial("koala++:q=0.05", 2, 0, 3),
  trial("sgd", 1, 0, null),
  trial("adamw", 2, 1, 4.2),
  trial("koala++:q=0.05", 2, 1, 3.6),
];
const report = () =>
  summarize({
    contestants,
    trials,
    reference: 0,
    complete: true,
    seeds: [0, 1],
    extensions: 0,
    costs: [cost(10, 1), cost(20, 2), cost(5, 0.5)],
    setting,
  });
const near = (a: number | null | undefined, b: number) => ok(Math.abs(a! - b) < 1e-12, `${a} must be ${b}`);

Deno.test("the summary takes the best rate of each, over all seeds, the best optimizer first", () => {
  const [koala, adamw, sgd] = report().optimizers;
  deepEqual([koala.name, adamw.name, sgd.name], ["koala++:q=0.05", "adamw", "sgd"]);
  deepEqual([koala.best_lr, adamw.best_lr, sgd.best_lr], [2, 2, null]);
  deepEqual([koala.border, adamw.border, sgd.searched], ["highest", null, false]);
  near(koala.loss?.mean, 3.3);
  near(koala.loss?.deviation, 0.3 * Math.SQRT2);
  near(koala.bits_per_byte, 1.65);
  // Seed by seed: -1 and -0.6.
  near(koala.difference?.mean, -0.8);
  near(koala.difference?.deviation, 0.2 * Math.SQRT2);
  deepEqual([adamw.difference, sgd.loss], [null, null]);
  deepEqual([adamw.sensitivity, koala.sensitivity], [{ below: 1, above: null }, { below: 0.5, above: null }]);
  // AdamW's time is that of 50 steps of KOALA++.
  near(koala.curve_loss_at_equal_time, 4.3);
  near(adamw.curve_loss_at_equal_time, 4.1);
  equal(sgd.curve_loss_at_equal_time, null);
});

Deno.test("lossAt() reads a curve between its points, and only after the first", () => {
  const curve = [{ step: 10, train_loss: 0, loss: 5 }, { step: 20, train_loss: 0, loss: 3 }];
  deepEqual([9, 10, 15, 20, 99].map((step) => lossAt(curve, step)), [null, 5, 4, 3, 3]);
  equal(lossAt([], 1), null);
});

Deno.test("the verdict names the best, and says where seeds overlap; warnings name what is doubtful", () => {
  const text = verdict(report());
  match(
    text,
    /^koala\+\+:q=0\.05 has the lowest validation loss: 3\.3000 ± 0\.4243 over 2 seeds; adamw follows/,
  );
  ok(!text.includes("overlap"));
  deepEqual(warnings(report()), [
    "The best learning rate is the highest that was tried, and there may be a better one beyond: koala++:q=0.05.",
    "The learning rate was given and not searched for: sgd.",
    "Diverged at every learning rate: sgd.",
  ]);
  const busy = report();
  const unsteady = { ...busy.optimizers[0].step!, ratio_quartiles: [1.5, 2.5] as const };
  const [first, ...others] = busy.optimizers;
  const rough = warnings({ ...busy, optimizers: [{ ...first, step: unsteady }, ...others] });
  match(rough.join("\n"), /^The machine was busy .* rough: koala\+\+:q=0\.05\./m);
  const close = summarize({
    contestants: contestants.slice(0, 2),
    trials: trials.map((c) => c.entry === "adamw" ? { ...c, loss: 3.5 } : c),
    reference: 0,
    complete: false,
    seeds: [0, 1],
    extensions: 0,
    setting,
  });
  match(verdict(close), /Their seeds overlap, so the difference may be chance\. Not all runs are done\.$/);
  ok(close.optimizers.every((o) => o.step === null));
});

Deno.test("an optimizer whose runs are still to come has no loss, and one that diverged is said to have", () => {
  const early = summarize({
    contestants,
    trials: trials.filter((c) => c.entry !== "koala++:q=0.05" && c.seed === 0),
    reference: 0,
    complete: false,
    seeds: [0, 1],
    extensions: 0,
    setting,
  });
  deepEqual(early.optimizers.map((o) => [o.name, lossText(o)]), [
    ["adamw", "4.0000"],
    ["koala++:q=0.05", "–"],
    ["sgd", "diverged"],
  ]);
  match(
    verdict(early),
    /^adamw has the lowest validation loss: 4\.0000 over one seed\. Not all runs are done\.$/,
  );
});

Deno.test("the report is one file that loads nothing, and carries its numbers", () => {
  const html = comparisonHtml(report());
  // Whatever could load something: attributes, imports, styles, requests. The policy forbids all of it besides.
  const loads =
    /\s(src|srcset|href|action|data)\s*=|@import|url\(|\bfetch\(|XMLHttpRequest|\bimport\s*\(|WebSocket/;
  equal(loads.exec(html)?.[0], undefined);
  match(
    html,
    /Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-/,
  );
  // The only addresses are in the library's banner, which is a comment.
  deepEqual(html.match(/https?:\/\/[^\s")]+/g), ["https://github.com/leeoniya/uPlot"]);
  match(html, /Permission is hereby granted/);
  const embedded = embeddedIn(html);
  deepEqual(JSON.parse(embedded), JSON.parse(JSON.stringify(report())));
  ok(!embedded.includes("<"), "a name must not end the script");
  match(html, /<title>Optimizers compared on a&lt;\/script&gt;&lt;b&gt;<\/title>/);
  match(html, /<td>3\.3000 ± 0\.4243<\/td>/);
  match(html, /<td>-0\.8000 ± 0\.2828<\/td>/);
  match(html, /<td>2\.00 <small>1\.98–2\.02<\/small><\/td>/);
});

interface Chart {
  readonly options: { readonly series: { label: string }[]; readonly bands: { series: number[] }[] };
  readonly data: (number | null | undefined)[][];
}

Deno.test("the charts get mean, highest and lowest of each optimizer, at its own time", () => {
  const html = comparisonHtml(report());
  const [library, page] = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(([, text]) => text);
  // Drawing needs a browser; what is drawn does not.
  const drawn: Record<string, Chart> = {};
  const draw = new Function(
    "document",
    "addEventListener",
    "drawn",
    `${library}
    const { join } = uPlot;
    uPlot = class { constructor(options, data, target) { drawn[target.id] = { options, data }; } };
    uPlot.join = join;
    ${page}`,
  );
  const element = (id: string) =>
    id === "comparison" ? { textContent: embeddedIn(html) } : { id, clientWidth: 600 };
  draw({ getElementById: element }, () => {}, drawn);
  deepEqual(Object.keys(drawn), ["by-tokens", "by-time", "by-rate"]);
  const { options, data } = drawn["by-tokens"];
  deepEqual(options.series.map((s) => s.label), ["tokens", "koala++:q=0.05", "", "", "adamw", "", ""]);
  deepEqual(options.bands.map((b) => b.series), [[2, 3], [5, 6]]);
  const rounded = (columns: Chart["data"]) =>
    columns.map((column) => column.map((x) => x == null ? null : Math.round(x * 1e6) / 1e6));
  deepEqual(rounded(data), [[3200, 6400], [4.3, 3.3], [4.6, 3.6], [4, 3], [5.1, 4.1], [5.2, 4.2], [5, 4]]);
  // AdamW's steps take 10 ms and KOALA++'s 20: both have a point at one second.
  deepEqual(rounded(drawn["by-time"].data.slice(0, 2)), [[0.5, 1, 2], [null, 4.3, 3.3]]);
  deepEqual(rounded([drawn["by-time"].data[4]]), [[5.1, 4.1, null]]);
  deepEqual(rounded(drawn["by-rate"].data), [[1, 2], [3.5, 3], [5, 4]]);
});

function embeddedIn(html: string): string {
  return /<script type="application\/json" id="comparison">([\s\S]*?)<\/script>/.exec(html)![1];
}
