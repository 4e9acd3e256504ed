/**
 * Draws the loss curves of runs as an SVG picture:
 *
 * deno run --allow-read --allow-write=docs bench/loss_curve.ts docs/loss.svg NAME=runs/a NAME=runs/b
 */
import { join } from "node:path";
import { readMetricsFile } from "../checkpoint/metrics_file.ts";

const [out, ...runs] = Deno.args;
if (!out || runs.length === 0) {
  console.error("usage: loss_curve.ts OUT.svg NAME=RUN_DIR ...");
  Deno.exit(2);
}
const colours = ["#2563eb", "#ea580c", "#16a34a", "#9333ea"];
const [width, height, left, bottom] = [720, 360, 48, 36];

const curves = await Promise.all(runs.map(async (run) => {
  const cut = run.indexOf("=");
  const records = await readMetricsFile(join(run.slice(cut + 1), "metrics.jsonl"));
  const train = records.flatMap((r) => (typeof r.loss === "number" ? [[r.step, r.loss]] : []));
  const held = records.flatMap((r) => {
    const validation = r.validation as { loss: number } | undefined;
    return validation ? [[r.step, validation.loss]] : [];
  });
  return { name: run.slice(0, cut), train, held };
}));
const points = curves.flatMap((c) => [...c.train, ...c.held]);
const lastStep = Math.max(...points.map(([step]) => step));
const [low, high] = [
  Math.floor(Math.min(...points.map((p) => p[1]))),
  Math.ceil(Math.max(...points.map((p) => p[1]))),
];
const x = (step: number) => left + (width - left - 16) * step / lastStep;
const y = (loss: number) => 16 + (height - 16 - bottom) * (high - loss) / (high - low);
const place = ([step, loss]: number[]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`;

const lines = [
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
  `<rect width="100%" height="100%" fill="white"/>`,
];
for (let loss = low; loss <= high; loss++) {
  lines.push(`<path d="M${left} ${y(loss)}H${width - 16}" stroke="#ddd"/>`);
  lines.push(`<text x="${left - 8}" y="${y(loss) + 4}" text-anchor="end">${loss}</text>`);
}
for (let i = 0; i <= 4; i++) {
  const step = Math.round(lastStep * i / 4);
  lines.push(`<text x="${x(step)}" y="${height - 14}" text-anchor="middle">${step}</text>`);
}
lines.push(
  `<text x="${width - 16}" y="${height - 1}" text-anchor="end">steps; line: training, dots: held-out</text>`,
);
curves.forEach(({ name, train, held }, i) => {
  const colour = colours[i % colours.length];
  const path = train.map(place).join(" ");
  lines.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>`);
  for (const point of held) {
    const [cx, cy] = place(point).split(",");
    lines.push(`<circle cx="${cx}" cy="${cy}" r="4" fill="${colour}"/>`);
  }
  lines.push(`<text x="${width - 24}" y="${32 + 18 * i}" text-anchor="end" fill="${colour}">${name}</text>`);
});
lines.push("</svg>");
await Deno.writeTextFile(out, lines.join("\n") + "\n");
