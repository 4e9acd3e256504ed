import { deepEqual, equal, ok, throws } from "node:assert/strict";
import type { Purpose } from "../../training/run/hyper_parameters.ts";
import { hyperParameters } from "../../training/run/optimizer.ts";
import { OPTIMIZERS } from "../../training/run/optimizer_table.ts";
import { helpText } from "../command/help_text.ts";
import { parseOptions, UsageError } from "../command/options.ts";
import { checkSameOptimizer, chosenOptimizer, optimizerOptions } from "./optimizer_options.ts";

const chosen = (line: string, purpose?: Purpose) => {
  const { values, given } = parseOptions(optimizerOptions, line.split(" ").filter(Boolean));
  return chosenOptimizer(values, given, purpose);
};
const refused = (run: () => unknown, message: RegExp) =>
  throws(run, (error) => error instanceof UsageError && message.test(error.message));

Deno.test("hyper-parameters are given with the optimizer's name, or by an option that is short for them", () => {
  const { optimizer, clip } = chosen(
    "--optimizer koala++:q=0.05,momentum=0.95,adamw.beta2=0.99,clip=2 --r 1",
  );
  deepEqual(
    [optimizer.name, optimizer.q, optimizer.momentum, optimizer["adamw.beta2"], optimizer.r, clip],
    ["koala++", 0.05, 0.95, 0.99, 1, 2],
  );
  deepEqual(chosen("--optimizer koala++:symmetric=false,r=variance"), chosen("--no-symmetric --r variance"));
  deepEqual(chosen("--optimizer muon:adamw.lr=0.01"), chosen("--optimizer muon --adamw-lr 0.01"));
  // Momentum is AdamW's beta1.
  equal(chosen("--optimizer adamw --momentum 0.8").optimizer.beta1, 0.8);
  deepEqual(chosen("--koala-scope all").optimizer.orthogonal, "none");
  equal(chosen("").clip, 1);
});

Deno.test("an option that does not apply to the optimizer is refused with what it takes", () => {
  const adamw = "adamw takes lr, weight-decay, beta1 \\(or momentum\\), beta2, eps, decay-all";
  refused(
    () => chosen("--optimizer adamw --adamw-lr 0.001"),
    new RegExp(`^--adamw-lr: ${adamw}, got adamw\\.lr`),
  );
  refused(() => chosen("--optimizer adamw --no-symmetric"), new RegExp(`^--symmetric: ${adamw}`));
  refused(() => chosen("--sigma 1", "lora"), new RegExp(`^--sigma: ${adamw}`));
  refused(
    () => chosen("--optimizer sgd:beta2=0.9"),
    /^--optimizer sgd:beta2=0\.9: sgd takes lr, .*got beta2/,
  );
  refused(
    () => chosen("--koala-scope all --adamw-lr 1"),
    /^--adamw-lr: koala\+\+ with koala-scope=all takes/,
  );
  refused(
    () => chosen("--koala-scope all --optimizer koala++:adamw.lr=1"),
    /^--optimizer: koala\+\+ with koala-scope/,
  );
  refused(() => chosen("--optimizer muon:newton=3"), /got newton/);
});

Deno.test("an optimizer must be written as it is read", () => {
  refused(
    () => chosen("--optimizer adam"),
    /^--optimizer must be one of koala\+\+, .*got "adam"; did you mean adamw\?/,
  );
  refused(() => chosen("--optimizer adamw:eps"), /must be written NAME=VALUE after the colon, got "eps"/);
  refused(() => chosen("--optimizer adamw:"), /must be written NAME=VALUE after the colon, got ""/);
  refused(
    () => chosen("--optimizer adamw:eps=0"),
    /adamw:eps=0: eps must be a number greater than 0, received "0"/,
  );
  refused(
    () => chosen("--optimizer muon:steps=2.5"),
    /steps must be an integer of at least 1, received "2\.5"/,
  );
  refused(() => chosen("--optimizer sgd:nesterov=1"), /nesterov must be true or false, received "1"/);
  refused(
    () => chosen("--optimizer muon:scale=big"),
    /scale must be one of original, match-rms-adamw, received "big"/,
  );
  refused(
    () => chosen("--q 1 --optimizer koala++:q=2"),
    /^--q and the q of --optimizer say the same; give one of them/,
  );
  refused(
    () => chosen("--momentum 0 --optimizer adamw:beta1=0.5"),
    /^--momentum and the beta1 of --optimizer say/,
  );
  refused(() => chosen("--clip 1 --optimizer sgd:clip=2"), /^--clip and the clip of --optimizer say/);
});

Deno.test("a run that goes on keeps its optimizer", () => {
  const recorded = chosen("--optimizer koala++:koala-scope=all,q=0.2");
  const check = (line: string) => {
    const { values, given } = parseOptions(optimizerOptions, line.split(" "));
    checkSameOptimizer(values, given, recorded);
  };
  check("--q 0.2 --clip 1");
  check("--optimizer koala++:q=0.2,orthogonal=none,clip=1");
  throws(
    () => check("--q 0.3 --momentum 0.5"),
    /^RangeError: .*differs in momentum 0, now 0\.5; q 0\.2, now 0\.3;/,
  );
  throws(() => check("--optimizer koala++:r=1,clip=2"), /differs in r "variance", now 1; clip 1, now 2;/);
  throws(
    () => check("--optimizer adamw:beta2=0.5 --sigma 1"),
    /differs in optimizer "koala\+\+", now "adamw";/,
  );
  refused(() => check("--adamw-lr 1"), /^--adamw-lr: koala\+\+ with koala-scope=all takes/);
});

Deno.test("the help names every hyper-parameter", () => {
  const help = helpText({ name: "a-task", summary: "", options: optimizerOptions }).replaceAll(/\s+/g, " ");
  for (const optimizer of Object.keys(OPTIMIZERS)) {
    for (const { name, also } of hyperParameters(optimizer).filter((p) => !p.name.startsWith("adamw."))) {
      ok(
        [name, also].some((key) =>
          help.includes(`--${key} `) || help.includes(` ${key}=`) || help.includes(`]${key} `)
        ),
        name,
      );
    }
  }
});
