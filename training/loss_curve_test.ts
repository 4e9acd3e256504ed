import { deepEqual, equal, match, ok } from "node:assert/strict";
import { lossCurveSvg } from "./loss_curve.ts";

Deno.test("lossCurveSvg() draws a line per run, a dot per evaluation, and whole losses at the side", () => {
  const svg = lossCurveSvg([
    {
      name: "a",
      records: [{ step: 10, loss: 5.5 }, { step: 20, loss: 3.5 }, { step: 20, validation: { loss: 4 } }],
    },
    { name: "b & <c>", records: [{ step: 40, loss: 5 }, { step: 40, final: { loss: 1 } }] },
  ])!;
  match(svg, /^<svg [^>]*>\n.*<\/svg>\n$/s);
  const lines = [...svg.matchAll(/polyline points="([^"]*)"/g)].map((m) => m[1]);
  deepEqual(lines, ["212.0,67.3 376.0,272.7", "704.0,118.7"]);
  equal([...svg.matchAll(/<circle /g)].length, 1);
  deepEqual([...svg.matchAll(/text-anchor="end">(\d+)</g)].map((m) => m[1]), ["3", "4", "5", "6"]);
  ok(svg.includes(">b &amp; &lt;c&gt;</text>"));
});

Deno.test("lossCurveSvg() leaves out what is no number, and gives nothing where nothing is left", () => {
  equal(lossCurveSvg([{ name: "a", records: [{ step: 1, loss: null }, { step: 1 }] }]), undefined);
  equal(lossCurveSvg([]), undefined);
  for (
    const records of [[{ step: 0, loss: 2 }], [{ step: 5, loss: 1e6 }, { step: 6, loss: 0 }, {
      step: 7,
      loss: null,
    }]]
  ) {
    const svg = lossCurveSvg([{ name: "a", records }])!;
    ok(!/NaN|Infinity/.test(svg), svg);
    ok([...svg.matchAll(/<path /g)].length <= 13);
  }
});
