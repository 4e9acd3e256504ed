/**
 * The bench's result: heats, and one table of all of them.
 *
 * @module
 */
import type { Ceilings } from "../gpu/measure/ceilings.ts";
import { quantile } from "../training/compare/statistics.ts";
import type { Measured } from "./rounds.ts";

/** Contestants that were measured in turns. The first is what the others are compared with. */
export interface Heat {
  /** What they did. */
  readonly title: string;
  /** What their work is counted in: what to divide operations, bytes or tokens a second by, and its name. */
  readonly rate?: { readonly unit: string; readonly scale: number };
  /** Whether the amount of work differs, so that times are compared for the same amount; default false. */
  readonly perWork?: boolean;
  /** The contestants. */
  readonly measured: readonly Measured[];
  /** Which of the adapter's ceilings limits them. */
  readonly ceiling?: keyof Ceilings;
  /** What is aimed at, by contestant; for information. */
  readonly aims?: Readonly<Record<string, string>>;
}

/** A line of the result. */
export interface Row {
  /** The heat. */
  readonly case: string;
  /** The contestant. */
  readonly name: string;
  /** Why there is nothing else. */
  readonly failure?: string;
  /** Least seconds of a run. */
  readonly best?: number;
  /** Median seconds of a run. */
  readonly median?: number;
  /** Seconds of the first run, compilation included. */
  readonly first?: number;
  /** Work a second at best. */
  readonly rate?: number;
  /** Its unit. */
  readonly unit?: string;
  /** How many times as long as the heat's first contestant it takes: best against best. */
  readonly ratio?: number;
  /** The median over rounds of that ratio within a round. */
  readonly pairedRatio?: number;
  /** Share of the adapter's ceiling. */
  readonly ofCeiling?: number;
  /** What is aimed at. */
  readonly aim?: string;
  /** Largest relative error of the checked result. */
  readonly error?: number;
  /** Checked losses of the first steps. */
  readonly losses?: readonly number[];
  /** Seconds of a run in each round. */
  readonly samples?: readonly number[];
}

/**
 * The rows of a heat.
 *
 * @param ceilings The adapter's best, in operations or bytes a second.
 */
export function rowsOf(heat: Heat, ceilings: Readonly<Record<string, number>>): Row[] {
  const { title, rate, perWork, measured, aims } = heat;
  const ceiling = heat.ceiling && ceilings[heat.ceiling];
  const [base] = measured;
  return measured.map((m): Row => {
    const aim = aims?.[m.name];
    if (m.failure !== undefined || m.samples.length === 0) {
      return { case: title, name: m.name, failure: m.failure ?? "not measured", aim };
    }
    const best = Math.min(...m.samples);
    const perSecond = m.work === undefined || !rate ? undefined : m.work / best;
    const share = perWork ? base.work! / m.work! : 1;
    const compared = m !== base && base.samples.length > 0;
    const pairs = m.samples.map((seconds, i) => share * seconds / base.samples[i]);
    return {
      case: title,
      name: m.name,
      best,
      median: quantile(m.samples),
      first: m.first,
      rate: perSecond === undefined ? undefined : perSecond / rate!.scale,
      unit: perSecond === undefined ? undefined : rate!.unit,
      ratio: compared ? share * best / Math.min(...base.samples) : undefined,
      pairedRatio: compared ? quantile(pairs) : undefined,
      ofCeiling: ceiling === undefined || perSecond === undefined ? undefined : perSecond / ceiling,
      aim,
      error: m.error,
      losses: m.losses,
      samples: m.samples,
    };
  });
}

const heads = ["", "best", "median", "rate", "first", "ratio", "paired", "of ceiling", "aim"];

/** Writes rows as a table; rows of the same case stand below its name. */
export function formatTable(rows: readonly Row[]): string {
  const times = (x: number | undefined) => x === undefined ? "" : `${x.toFixed(2)}x`;
  const lines = rows.map((row) => ({
    row,
    cells: [
      `  ${row.name}`,
      ...row.failure !== undefined ? [] : [
        milliseconds(row.best!),
        milliseconds(row.median!),
        row.rate === undefined ? "" : `${row.rate.toFixed(row.rate < 1000 ? 1 : 0)} ${row.unit}`,
        row.first === undefined ? "" : `${row.first.toFixed(2)} s`,
        times(row.ratio),
        times(row.pairedRatio),
        row.ofCeiling === undefined ? "" : `${(100 * row.ofCeiling).toFixed(0)} %`,
        row.aim ?? "",
      ],
    ],
  }));
  const widths = heads.map((head, i) =>
    Math.max(head.length, ...lines.map(({ cells }) => (cells[i] ?? "").length))
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ").trimEnd();
  const text = [line(heads)];
  lines.forEach(({ row, cells }, i) => {
    if (row.case !== lines[i - 1]?.row.case) text.push(row.case);
    text.push(row.failure === undefined ? line(cells) : `${line(cells)}  failed: ${row.failure}`);
  });
  return text.join("\n");
}

function milliseconds(seconds: number): string {
  const ms = seconds * 1e3;
  return `${ms.toFixed(ms < 10 ? 2 : ms < 100 ? 1 : 0)} ms`;
}
