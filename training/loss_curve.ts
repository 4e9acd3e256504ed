/**
 * The loss of runs over their steps, as an SVG picture.
 *
 * @module
 */
import type { MetricsRecord } from "../checkpoint/run/metrics_file.ts";
import { escapeMarkup } from "./markup.ts";

/** A run to draw. */
export interface LossCurve {
  /** Its name in the legend. */
  readonly name: string;
  /** The lines of its `metrics.jsonl`. */
  readonly records: readonly MetricsRecord[];
}

type Point = readonly [step: number, loss: number];

const colours = ["#2563eb", "#ea580c", "#16a34a", "#9333ea"];
const [width, height, left, right, top, bottom] = [720, 360, 48, 16, 16, 36];

/** The most lines across the picture, each at a whole number. */
const GRID_LINES = 12;

/**
 * Draws training losses as lines and evaluations as dots.
 *
 * @param curves The runs.
 * @returns The text of an SVG file, or nothing if no run has a loss that is a number.
 *
 * @example
 * ```ts
 * import { match } from "node:assert/strict";
 *
 * const records = [{ step: 1, loss: 5 }, { step: 2, loss: 4, validation: { loss: 4.5 } }];
 * match(lossCurveSvg([{ name: "mine", records }])!, /^<svg /);
 * ```
 */
export function lossCurveSvg(curves: readonly LossCurve[]): string | undefined {
  const series = curves.map(({ name, records }) => ({
    name,
    train: records.flatMap((r) => pointOf(r.step, r.loss)),
    held: records.flatMap((r) => pointOf(r.step, (r.validation as { loss?: unknown } | undefined)?.loss)),
  }));
  const points = series.flatMap(({ train, held }) => [...train, ...held]);
  if (points.length === 0) return undefined;
  // Not spread into Math.max: a long run has more points than a call takes arguments.
  const [lastStep, least, most] = points.reduce(
    ([s, a, b], [step, loss]) => [Math.max(s, step), Math.min(a, loss), Math.max(b, loss)],
    [1, Infinity, -Infinity],
  );
  const low = Math.floor(least);
  const high = Math.max(Math.ceil(most), low + 1);
  const x = (step: number) => left + (width - left - right) * step / lastStep;
  const y = (loss: number) => top + (height - top - bottom) * (high - loss) / (high - low);
  const place = ([step, loss]: Point) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`;

  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/>`,
  ];
  for (let loss = low, by = Math.ceil((high - low) / GRID_LINES); loss <= high; loss += by) {
    lines.push(`<path d="M${left} ${y(loss)}H${width - right}" stroke="#ddd"/>`);
    lines.push(`<text x="${left - 8}" y="${y(loss) + 4}" text-anchor="end">${loss}</text>`);
  }
  for (let i = 0; i <= 4; i++) {
    const step = Math.round(lastStep * i / 4);
    lines.push(`<text x="${x(step)}" y="${height - 14}" text-anchor="middle">${step}</text>`);
  }
  lines.push(
    `<text x="${width - right}" y="${
      height - 1
    }" text-anchor="end">steps; line: training, dots: held-out</text>`,
  );
  series.forEach(({ name, train, held }, i) => {
    const colour = colours[i % colours.length];
    const path = train.map(place).join(" ");
    lines.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>`);
    for (const point of held) {
      const [cx, cy] = place(point).split(",");
      lines.push(`<circle cx="${cx}" cy="${cy}" r="4" fill="${colour}"/>`);
    }
    lines.push(
      `<text x="${width - 24}" y="${32 + 18 * i}" text-anchor="end" fill="${colour}">${
        escapeMarkup(name)
      }</text>`,
    );
  });
  lines.push("</svg>");
  return lines.join("\n") + "\n";
}

/** A diverged run's losses are null in its file; they have no place in the picture. */
function pointOf(step: number, loss: unknown): Point[] {
  return typeof loss === "number" && Number.isFinite(loss) ? [[step, loss]] : [];
}
