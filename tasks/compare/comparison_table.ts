/**
 * The result of a comparison as lines of text.
 *
 * @module
 */
import type { ComparisonReport } from "../../training/compare/summary.ts";
import { lossText, verdict, warnings, withSpread } from "../../training/compare/words.ts";
import { align } from "../command/align.ts";

/**
 * Makes a table with a line for each optimizer, the best first, and what must be known beside it.
 *
 * @param report What the comparison found.
 */
export function comparisonTable(report: ComparisonReport): string[] {
  const rows = [
    [
      "optimizer",
      "best lr",
      "validation loss",
      `minus ${report.reference}'s`,
      "ms/step",
      "state bytes/param.",
    ],
    ...report.optimizers.map((o) => [
      o.name,
      o.best_lr === null ? "-" : String(o.best_lr),
      lossText(o),
      o.difference ? withSpread(o.difference) : "-",
      o.step ? `${o.step.ms.toFixed(1)} (${o.step.ratio.toFixed(2)}x)` : "-",
      o.step?.state_bytes_per_parameter.toFixed(2) ?? "-",
    ]),
  ];
  return [...align(rows, 1), "", verdict(report), ...warnings(report).map((text) => `note: ${text}`)];
}
