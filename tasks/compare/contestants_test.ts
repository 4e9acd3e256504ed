import { deepEqual, rejects, throws } from "node:assert/strict";
import { UsageError } from "../command/command_line.ts";
import { contestantsFor, entryOptions, parseContestants, parseGrids } from "./contestants.ts";
import { parseOptions } from "../command/options.ts";
import { scheduleOptions } from "../train/optimizer_options.ts";
import { dataOptions, modelOptions } from "../train/train_lm_options.ts";

const table = { ...dataOptions, ...modelOptions, ...entryOptions, ...scheduleOptions };
const contestantsOf = async (
  words: string[],
  grids: ReadonlyMap<string, readonly number[]> = new Map(),
  ...args: string[]
) => {
  const { values, given } = parseOptions(table, args);
  return await contestantsFor(parseContestants(words), grids, { ...values, steps: 100 }, given);
};

Deno.test("names and options may be separated by commas or stand as several words", () => {
  const expected = [
    { name: "adamw", optimizer: { name: "adamw", values: {} } },
    {
      name: "koala++:q=0.05,symmetric=false",
      optimizer: { name: "koala++", values: { q: 0.05, symmetric: false } },
    },
    { name: "muon", optimizer: { name: "muon", values: {} } },
  ];
  deepEqual(parseContestants(["adamw,koala++:q=0.05,symmetric=false,muon"]), expected);
  deepEqual(parseContestants(["adamw", "koala++:q=0.05,symmetric=false", "muon"]), expected);
});

Deno.test("learning rates come from the entry, from --lr, or from the optimizer's default", async () => {
  const grids = parseGrids(["adamw=0.003,0.001"], ["adamw", "muon"]);
  const contestants = await contestantsOf(["adamw,adamw:weight-decay=0,lr=0.02/0.01,muon"], grids);
  deepEqual(contestants.map((c) => c.rates), [[0.001, 0.003], [0.01, 0.02], [0.01, 0.02, 0.04]]);
  deepEqual(contestants.map((c) => c.config.optimizer["weight-decay"]), [0.1, 0, 0]);
  deepEqual(contestants.map((c) => c.config.optimizer.lr), [0.001, 0.01, 0.01]);
});

Deno.test("an option that stands alone holds for all that take it, and an entry's own wins", async () => {
  const words = ["koala++,koala++:q=0.3,clip=0,adamw,koala++:koala-scope=all"];
  const contestants = await contestantsOf(
    words,
    new Map(),
    "--q",
    "0.2",
    "--adamw-lr",
    "0.01",
    "--momentum",
    "0.5",
  );
  deepEqual(
    contestants.map(({ config: { optimizer, clip } }) => [optimizer.q, clip, optimizer["adamw.lr"]]),
    [
      [0.2, 1, 0.01],
      [0.3, 0, 0.01],
      [undefined, 1, undefined],
      [0.2, 1, undefined],
    ],
  );
  deepEqual(contestants.map(({ config: { optimizer } }) => optimizer.momentum ?? optimizer.beta1), [
    0.5,
    0.5,
    0.5,
    0.5,
  ]);
  const idle = contestantsOf(["adamw,lion"], new Map(), "--sigma", "1");
  await rejects(
    idle,
    /^UsageError: --sigma must be a hyper-parameter of an optimizer that takes part \(adamw, lion\)/,
  );
});

Deno.test("defaults of KOALA++ follow from how its steps are shaped, those of momentum from the optimizer", async () => {
  const words = [
    "koala++,koala++:orthogonal=none,koala++:koala-scope=all,koala++:orthogonal=gain,r=1",
    "adamw,muon",
  ];
  const contestants = await contestantsOf(words);
  deepEqual(
    contestants.map(({ config: { optimizer: o } }) => [o.orthogonal, o.momentum ?? o.beta1, o.r]),
    [
      ["unit", 0.9, 0],
      ["none", 0, "variance"],
      ["none", 0, "variance"],
      ["gain", 0.9, 1],
      [undefined, 0.9, undefined],
      [undefined, 0.95, undefined],
    ],
  );
});

Deno.test("what is wrong is named with what is allowed", () => {
  const refuse = (run: () => unknown, message: RegExp) =>
    throws(run, (error) => error instanceof UsageError && message.test(error.message));
  refuse(
    () => parseContestants(["adam"]),
    /--optimizers must be one of koala\+\+, .*got "adam"; did you mean adamw\?/,
  );
  refuse(() => parseContestants(["q=0.1"]), /must begin with a name, received q=0\.1/);
  refuse(
    () => parseContestants(["koala++:qq=1"]),
    /^--optimizers koala\+\+:qq=1: koala\+\+ takes koala-scope, lr, .*adamw\.decay-all, got qq; leave it out; did you mean q\?/,
  );
  refuse(
    () => parseContestants(["koala++:q=-1"]),
    /^--optimizers koala\+\+:q=-1: q must be a number of at least 0, received "-1"/,
  );
  refuse(() => parseContestants(["adamw:lr=0/1"]), /learning rates must be .* received "0"/);
  refuse(() => parseGrids(["0.1,0.2"], ["adamw"]), /such as --lr adamw=0\.001,0\.003, received 0\.1,0\.2/);
  refuse(() => parseGrids(["muon=1"], ["adamw"]), /takes part \(adamw\).*received muon=1/);
  refuse(() => parseGrids(["adamw=1,x"], ["adamw"]), /received "x"/);
});
