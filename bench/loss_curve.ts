/**
 * Draws the loss curves of runs as an SVG picture:
 *
 * deno run --allow-read --allow-write=docs bench/loss_curve.ts docs/loss.svg NAME=runs/a NAME=runs/b
 */
import { join } from "node:path";
import { readMetricsFile } from "../checkpoint/run/metrics_file.ts";
import { lossCurveSvg } from "../training/loss_curve.ts";

const [out, ...runs] = Deno.args;
if (!out || runs.length === 0) {
  console.error("usage: loss_curve.ts OUT.svg NAME=RUN_DIR ...");
  Deno.exit(2);
}
const curves = await Promise.all(runs.map(async (run) => {
  const cut = run.indexOf("=");
  const records = await readMetricsFile(join(run.slice(cut + 1), "metrics.jsonl"));
  return { name: run.slice(0, cut), records };
}));
const svg = lossCurveSvg(curves);
if (svg === undefined) {
  console.error("error: the runs must have losses, got none");
  Deno.exit(1);
}
await Deno.writeTextFile(out, svg);
