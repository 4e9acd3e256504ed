import { deepEqual, throws } from "node:assert/strict";
import { UsageError } from "../command/command_line.ts";
import { contestantsFor, entryOptions, parseContestants, parseGrids } from "./contestants.ts";
import { parseOptions } from "../command/options.ts";
import { scheduleOptions } from "../train/optimizer_options.ts";
import { dataOptions, modelOptions } from "../train/train_lm_options.ts";

const table = { ...dataOptions, ...modelOptions, ...entryOptions, ...scheduleOptions };
const values = (...args: string[]) => ({ ...parseOptions(table, args).values, steps: 100 });

Deno.test("names and options may be separated by commas or stand as several words", () => {
  const expected = [
    { name: "adamw", optimizer: "adamw", options: {} },
    {
      name: "koala++:q=0.05,symmetric=false",
      optimizer: "koala++",
      options: { q: 0.05, symmetric: false },
    },
    { name: "muon", optimizer: "muon", options: {} },
  ];
  deepEqual(parseContestants(["adamw,koala++:q=0.05,symmetric=false,muon"]), expected);
  deepEqual(parseContestants(["adamw", "koala++:q=0.05,symmetric=false", "muon"]), expected);
});

Deno.test("learning rates come from the entry, from --lr, or from the optimizer's default", async () => {
  const asked = parseContestants(["adamw,adamw:weight-decay=0,lr=0.02/0.01,muon"]);
  const grids = parseGrids(["adamw=0.003,0.001"], ["adamw", "muon"]);
  const contestants = await contestantsFor(asked, grids, values());
  deepEqual(contestants.map((c) => c.rates), [[0.001, 0.003], [0.01, 0.02], [0.01, 0.02, 0.04]]);
  deepEqual(contestants.map((c) => c.config.weightDecay), [0.1, 0, 0]);
});

Deno.test("an option that stands alone holds for all, and an entry's own wins", async () => {
  const asked = parseContestants(["koala++,koala++:q=0.3,clip=0"]);
  const contestants = await contestantsFor(asked, new Map(), values("--q", "0.2"));
  deepEqual(contestants.map(({ config }) => [config.q, config.clip]), [[0.2, 1], [0.3, 0]]);
});

Deno.test("defaults of KOALA++ follow from how its steps are shaped, those of momentum from the optimizer", async () => {
  const words = [
    "koala++,koala++:orthogonal=none,koala++:koala-scope=all,koala++:orthogonal=gain,r=1",
    "adamw,muon",
  ];
  const contestants = await contestantsFor(parseContestants(words), new Map(), values());
  deepEqual(contestants.map(({ config: { orthogonal, momentum, r } }) => [orthogonal, momentum, r]), [
    ["unit", 0.9, 0],
    ["none", undefined, "variance"],
    ["none", undefined, "variance"],
    ["gain", 0.9, 1],
    ["none", 0.9, "variance"],
    ["none", 0.95, "variance"],
  ]);
});

Deno.test("what is wrong is named with what is allowed", () => {
  const refuse = (run: () => unknown, message: RegExp) =>
    throws(run, (error) => error instanceof UsageError && message.test(error.message));
  refuse(
    () => parseContestants(["adam"]),
    /names of koala\+\+, .*received "adam"; did you mean adamw\?/,
  );
  refuse(() => parseContestants(["q=0.1"]), /must begin with a name, received q=0\.1/);
  refuse(() => parseContestants(["koala++:qq=1"]), /^--optimizers koala\+\+:qq=1: unknown option --qq/);
  refuse(
    () => parseContestants(["koala++:q=-1"]),
    /option --q must be a number of at least 0, received "-1"/,
  );
  refuse(() => parseContestants(["adamw:lr=0/1"]), /learning rates must be .* received "0"/);
  refuse(() => parseGrids(["0.1,0.2"], ["adamw"]), /such as --lr adamw=0\.001,0\.003, received 0\.1,0\.2/);
  refuse(() => parseGrids(["muon=1"], ["adamw"]), /takes part \(adamw\).*received muon=1/);
  refuse(() => parseGrids(["adamw=1,x"], ["adamw"]), /received "x"/);
});
