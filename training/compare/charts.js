// The charts of a comparison's report; runs in the reader's browser, after uPlot. See report.ts.
/* global uPlot */
(() => {
  const { optimizers, setting } = JSON.parse(document.getElementById("comparison").textContent);
  // Okabe and Ito's colours, which people with colour blindness can tell apart; a second round is dashed.
  const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31"];
  const lineOf = (i) => ({
    stroke: colours[i % colours.length],
    width: 2,
    dash: i < colours.length ? undefined : [6, 4],
  });
  const fixed = (digits) => (_, value) => value == null ? "–" : value.toFixed(digits);
  const short = (value) => value == null ? "" : String(Number(value.toPrecision(4)));
  const count = (value) =>
    value >= 1e6 ? `${short(value / 1e6)}M` : value >= 1e3 ? `${short(value / 1e3)}k` : short(value);

  /** Draws lines into an element; `write` turns a value of x into text. */
  function chart(id, { x, y, series, data, log = false, bands = [], write }) {
    const target = document.getElementById(id);
    const axis = (label, size) => ({ label, size, labelSize: 22, grid: { stroke: "#e5e5e5", width: 1 } });
    const plot = new uPlot(
      {
        width: target.clientWidth,
        height: 340,
        scales: { x: { time: false, distr: log ? 3 : 1 } },
        axes: [{ ...axis(x, 40), values: (_, splits) => splits.map(write) }, axis(y, 60)],
        series: [{ label: x, value: (_, value) => value == null ? "–" : write(value) }, ...series],
        bands,
        legend: { markers: { width: 3 } },
        cursor: { drag: { x: true, y: true, uni: 30 } },
        hooks: {
          // A line's band comes and goes with it.
          setSeries: [(u, i, options) => {
            if (i == null || options.show == null || !u.series[i].banded) return;
            for (const edge of [i + 1, i + 2]) {
              if (u.series[edge].show !== options.show) u.setSeries(edge, { show: options.show });
            }
          }],
        },
      },
      data,
      target,
    );
    addEventListener("resize", () => plot.setSize({ width: target.clientWidth, height: 340 }));
  }

  /** The runs of an optimizer as points: mean, least and most over the seeds, at each evaluation. */
  function curveOf({ seeds }, scale) {
    const curves = seeds.filter((run) => run.loss !== null).map((run) => run.curve);
    if (curves.length === 0) return null;
    const at = curves[0].map((point, i) => ({ x: point.step * scale, losses: curves.map((c) => c[i].loss) }));
    return [
      at.map((p) => p.x),
      at.map((p) => p.losses.reduce((a, b) => a + b, 0) / p.losses.length),
      at.map((p) => Math.max(...p.losses)),
      at.map((p) => Math.min(...p.losses)),
    ];
  }

  /** Loss along the runs, x being the steps times what `scaleOf` gives for an optimizer. */
  function curves(id, x, scaleOf, write) {
    const drawn = optimizers.flatMap((o, i) => {
      const scale = scaleOf(o);
      const points = scale && curveOf(o, scale);
      return points ? [{ name: o.name, line: lineOf(i), points }] : [];
    });
    if (drawn.length === 0) return;
    const edge = { label: "", class: "edge", points: { show: false }, width: 0 };
    chart(id, {
      x,
      y: "validation loss",
      write,
      data: uPlot.join(drawn.map((d) => d.points)),
      series: drawn.flatMap(({ name, line }) => [
        { label: name, ...line, points: { size: 5 }, value: fixed(4), banded: true },
        { ...edge, stroke: line.stroke },
        { ...edge, stroke: line.stroke },
      ]),
      bands: drawn.map(({ line }, i) => ({ series: [3 * i + 2, 3 * i + 3], fill: `${line.stroke}22` })),
    });
  }

  curves("by-tokens", "tokens", () => setting.tokens_per_step, count);
  curves("by-time", "seconds of training", (o) => o.step && o.step.ms / 1000, short);

  const rated = optimizers.map((o, i) => ({
    ...o,
    line: lineOf(i),
    points: o.rates.filter((r) => r.loss !== null),
  }))
    .filter((o) => o.points.length > 0);
  if (rated.length > 0) {
    chart("by-rate", {
      x: "peak learning rate",
      y: "final validation loss",
      log: true,
      write: short,
      data: uPlot.join(rated.map((o) => [o.points.map((r) => r.lr), o.points.map((r) => r.loss)])),
      series: rated.map((o) => ({
        label: o.name,
        ...o.line,
        points: { show: true, size: 8 },
        value: fixed(4),
      })),
    });
  }
})();
