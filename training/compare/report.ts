/**
 * A comparison of optimizers as one HTML file that needs nothing else: tables made here, charts by uPlot (MIT, 51
 * kB), which is part of the file. Its content security policy allows no connection at all.
 *
 * @module
 */
import chartStyle from "npm:uplot@1.6.32/dist/uPlot.min.css" with { type: "text" };
import chartScript from "npm:uplot@1.6.32/dist/uPlot.iife.min.js" with { type: "text" };
import chartLicence from "npm:uplot@1.6.32/LICENSE" with { type: "text" };
import drawCharts from "./charts.js" with { type: "text" };
import type { ComparisonReport, ComparisonSetting, ContestantReport } from "./summary.ts";
import { lossText, spreadText, verdict, warnings } from "./words.ts";
import { escapeMarkup } from "../markup.ts";
import { formatCount } from "../progress.ts";
import { hasAdamWBeside } from "../run/optimizer.ts";

const style = `
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1240px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0 0 8px; } h2 { font-size: 18px; margin: 32px 0 8px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; }
th, td { padding: 5px 10px; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; } th { white-space: normal; min-width: 50px; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; vertical-align: bottom; }
tbody tr:first-child td { background: #f2f8f2; }
small, .note { color: #555; } .warning { background: #fff4d6; border-left: 4px solid #e69f00; padding: 6px 12px; margin: 8px 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(520px, 100%), 1fr)); gap: 8px 32px; }
.charts > div > [id] { min-height: 340px; } .charts th, .charts td { padding: 5px 6px; }
.dots { position: relative; display: block; width: 140px; height: 16px; border-left: 1px solid #bbb; border-right: 1px solid #bbb; }
.dots i { position: absolute; top: 4px; width: 8px; height: 8px; margin-left: -4px; border-radius: 4px; background: #0072b2; opacity: .65; }
.u-legend { text-align: left; } .u-legend .edge { display: none !important; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0; } dt { color: #555; } dd { margin: 0; }
`;

/**
 * Makes the report.
 *
 * @param report What the comparison found.
 * @returns The text of an HTML file.
 */
export function comparisonHtml(report: ComparisonReport): string {
  const { optimizers } = report;
  const title = `Optimizers compared on ${report.setting.model}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escapeMarkup(title)}</title>
<style>${chartStyle}${style}</style>
</head>
<body>
<h1>${escapeMarkup(title)}</h1>
<p>${escapeMarkup(verdict(report))}</p>
${warnings(report).map((text) => `<p class="warning">${escapeMarkup(text)}</p>`).join("\n")}
<h2>Results</h2>
<div class="wide">${resultTable(report)}</div>
<p class="note">${escapeMarkup(tableNote(report))}</p>
<div class="charts">
${
    charts.map(({ id, heading, note }) =>
      `<div><h2>${heading}</h2><div id="${id}"></div><p class="note">${note}</p></div>`
    ).join("\n")
  }
<div${optimizers.some((o) => o.step) ? "" : " hidden"}><h2>Time and memory of a step</h2><div class="wide">${
    costTable(report)
  }</div>
<p class="note">Medians over the rounds, small numbers being the ratio's quartiles, then the fastest turns. State is what the optimizer keeps;
GPU memory is what is planned for the whole step.</p></div>
</div>
<h2>How it was measured</h2>
${methods(report).map((text) => `<p>${escapeMarkup(text)}</p>`).join("\n")}
<h2>Setting</h2>
${definitions(settingRows(report))}
<h2>Optimizers</h2>
${definitions(optimizers.map((o) => [o.name, optionText(o, report)]))}
<script type="application/json" id="comparison">${
    // An element of this type ends at the first </script, whatever it is part of.
    JSON.stringify(report).replaceAll("<", "\\u003c")}</script>
<!-- uPlot, which draws the charts:
${chartLicence.trim().replaceAll("--", "- -")}
-->
<script>${chartScript}</script>
<script>${drawCharts}</script>
</body>
</html>
`;
}

const charts = [
  {
    id: "by-tokens",
    heading: "Loss against tokens",
    note:
      "Mean over the seeds with the best learning rate; the shade reaches from the lowest to the highest. " +
      "Click a name to hide it, drag to zoom in, double-click to zoom out.",
  },
  {
    id: "by-time",
    heading: "Loss against time",
    note: "The same curves, each step taking the time that was measured side by side.",
  },
  {
    id: "by-rate",
    heading: "Sensitivity to the learning rate",
    note: "Final loss of every learning rate that was tried, first seed. Runs that diverged have no point.",
  },
];

function resultTable(report: ComparisonReport): string {
  const { optimizers, reference } = report;
  const losses = optimizers.flatMap((o) => o.seeds.flatMap((run) => run.loss ?? []));
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const heads = [
    "optimizer",
    "best lr",
    "validation loss",
    "each seed",
    "bits per byte",
    `minus ${reference}'s, seed by seed`,
    `curve at ${reference}'s time`,
    "lr one step lower / higher",
  ];
  return table(
    heads,
    optimizers.map((o) => [
      escapeMarkup(o.name),
      number(o.best_lr),
      lossText(o),
      dots(o.seeds.flatMap((run) => run.loss ?? []), low, high),
      o.bits_per_byte?.toFixed(3) ?? "–",
      o.difference ? signed(o.difference.mean) + spreadText(o.difference) : "–",
      o.curve_loss_at_equal_time?.toFixed(4) ?? "–",
      `${rise(o.sensitivity.below)} / ${rise(o.sensitivity.above)}`,
    ]),
  );
}

function costTable({ optimizers, reference }: ComparisonReport): string {
  const heads = [
    "optimizer",
    "ms",
    `times ${reference}'s`,
    "fastest ms",
    `times ${reference}'s`,
    "state bytes per parameter",
    "GPU memory",
  ];
  const rows = optimizers.flatMap(({ name, step }) => {
    if (!step) return [];
    const {
      ms,
      ratio,
      ratio_quartiles,
      fastest_ms,
      fastest_ratio,
      state_bytes_per_parameter,
      planned_bytes,
    } = step;
    const time = (ms: number) => ms.toFixed(ms < 10 ? 2 : 1);
    const quartiles = ratio_quartiles.map((r) => r.toFixed(2)).join("–");
    return [[
      escapeMarkup(name),
      time(ms),
      `${ratio.toFixed(2)} <small>${quartiles}</small>`,
      time(fastest_ms),
      fastest_ratio.toFixed(2),
      state_bytes_per_parameter.toFixed(2),
      `${formatCount(planned_bytes)}B`,
    ]];
  });
  return table(heads, rows);
}

/** Heads are texts, cells are markup. */
function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`;
  return `<table><thead>${line(heads.map(escapeMarkup), "th")}</thead>
<tbody>${rows.map((row) => line(row, "td")).join("\n")}</tbody></table>`;
}

function tableNote({ seeds, reference }: ComparisonReport): string {
  const spread = seeds.length > 1 ? "± is the standard deviation over the seeds. " : "";
  return `${spread}The loss is that of all held-out text after the last step. "Curve at ${reference}'s time" is ` +
    `the loss on the curves where ${reference} has done all its steps; an optimizer that is slower has not yet brought ` +
    "its learning rate down by then, and one that is faster has finished. The last column says how much the loss rises with the next learning rate of the grid.";
}

function methods({ seeds, setting, reference }: ComparisonReport): string[] {
  return [
    "Every optimizer trains the same model on the same tokens. Runs of the same seed start from the same weights " +
    "and see the same batches and the same dropout, bit for bit.",
    `Learning rates were compared by the final loss with seed ${
      seeds[0]
    }; where the best was at an end of the ` +
    `grid, the grid was extended. The best then ran with ${
      seeds.length > 1 ? `seeds ${seeds.join(", ")}` : "no further seed"
    }. The first seed chose the rate and is part of the mean, for all optimizers alike.`,
    `Points of the curves are losses on the first ${
      formatCount(setting.curve_tokens)
    } tokens of the held-out text, ` +
    "the table's losses on all of it, so a curve's end may differ a little from the table.",
    ...(setting.timing_rounds === 0 ? [] : [timingMethod(setting, reference)]),
  ];
}

function timingMethod(setting: ComparisonSetting, reference: string): string {
  return `Time per step was measured apart from training: each optimizer and ${reference} took turns of ten steps or more for ` +
    `${setting.timing_rounds} rounds, and the ratio is the median of the rounds' ratios. The chart against time ` +
    "multiplies it with the steps, because the clock of a long run also counts whatever else the machine did. " +
    "Evaluations are not part of it.";
}

function settingRows({ setting, seeds }: ComparisonReport): [string, string][] {
  const s = setting;
  return [
    ["model", `${s.model}, ${formatCount(s.parameters)} parameters${trainedText(s)}`],
    [
      "text",
      `${s.data.join(", ")}: ${formatCount(s.train_tokens)} tokens to train on, ${
        formatCount(s.validation_tokens)
      } held out, vocabulary ${s.vocab_size}`,
    ],
    ["length", `${s.steps} steps, ${formatCount(s.steps * s.tokens_per_step)} tokens`],
    [
      "step",
      `${s.tokens_per_step} tokens: ${s.batch_size} sequences of ${s.seq_len}${
        s.grad_accum > 1 ? `, ${s.grad_accum} micro-batches` : ""
      }`,
    ],
    ["learning rate", `${s.schedule}, ${s.warmup} steps of warm-up, down to ${s.min_lr_ratio} of the peak`],
    ["seeds", seeds.join(", ")],
    ["adapter", s.adapter + (s.software ? " (software)" : "")],
    ["Deno", s.deno],
  ];
}

/** How many parameters are trained, where that is not all of them. */
function trainedText({ trained_parameters: trained }: ComparisonSetting): string {
  return trained === undefined
    ? ""
    : `, of which ${formatCount(trained)} are trained: the embeddings stay as they are`;
}

/** The options in which an optimizer's runs differ from those of the others. */
function optionText({ config, rates }: ContestantReport, { optimizers }: ComparisonReport): string {
  const differing = Object.entries(flat(config)).filter(([key, value]) =>
    optimizers.some((o) => JSON.stringify(flat(o.config)[key]) !== JSON.stringify(value))
  ).map(([key, value]) => `${key} ${typeof value === "string" ? value : JSON.stringify(value)}`);
  const { optimizer } = config;
  const beside = hasAdamWBeside(optimizer)
    ? [
      `trains the hidden weight matrices, beside AdamW at learning rate ${
        optimizer["adamw.lr"]
      } for the rest`,
    ]
    : [];
  const tried = rates.map(({ lr, loss }) => `${number(lr)} (${loss?.toFixed(4) ?? "diverged"})`);
  return [...differing, ...beside, `learning rates tried: ${tried.join(", ") || "none yet"}`].join("; ");
}

/** A configuration with the hyper-parameters of its optimizer beside the rest. */
function flat(
  { optimizer: { name, ...values }, ...rest }: ContestantReport["config"],
): Record<string, unknown> {
  return { optimizer: name, ...values, ...rest };
}

function definitions(rows: readonly (readonly [string, string])[]): string {
  return `<dl>${
    rows.map(([term, text]) => `<dt>${escapeMarkup(term)}</dt><dd>${escapeMarkup(text)}</dd>`).join("\n")
  }</dl>`;
}

/** Losses as dots between the lowest and the highest of all. */
function dots(losses: readonly number[], low: number, high: number): string {
  const place = (loss: number) => high > low ? 4 + 92 * (loss - low) / (high - low) : 50;
  return `<span class="dots">${
    losses.map((loss) => `<i style="left:${place(loss).toFixed(1)}%" title="${loss.toFixed(4)}"></i>`).join(
      "",
    )
  }</span>`;
}

function signed(value: number): string {
  return (value > 0 ? "+" : "") + value.toFixed(4);
}

function rise(value: number | null): string {
  return value === null ? "–" : signed(value);
}

function number(value: number | null): string {
  return value === null ? "–" : String(Number(value.toPrecision(6)));
}
