import { deepEqual, equal, throws } from "node:assert/strict";
import { type OptionTable, parseOptions, UsageError } from "./command_line.ts";

const table = {
  "batch-size": { type: "integer", min: 1, default: 8, description: "sequences per step" },
  "lr": {
    type: "number",
    above: 0,
    below: 1,
    choices: ["auto"],
    default: "auto",
    description: "learning rate",
  },
  "temperature": { type: "number", default: 1, description: "randomness" },
  "dropout": { type: "number", min: 0, max: 0.9, default: 0, description: "dropout" },
  "optimizer": {
    type: "choice",
    choices: ["koala++", "adamw"],
    default: "koala++",
    description: "optimizer",
  },
  "data": { type: "string", multiple: true, description: "texts" },
  "seed": { type: "integer", description: "seed" },
  "out": { type: "string", default: "runs", description: "folder" },
  "prompt": { type: "string", allowEmpty: true, default: "Once", description: "prompt" },
  "tie": { type: "boolean", default: true, description: "tie weights" },
  "bias": { type: "boolean", description: "biases" },
} as const satisfies OptionTable;

const parse = (...args: string[]) => parseOptions(table, args);
const withConfig = (text: string, ...args: string[]) =>
  parseOptions(table, ["--config", "my.json", ...args], (path) => {
    equal(path, "my.json");
    return text;
  });

function refuses(run: () => unknown, message: string | RegExp): void {
  throws(run, (error) => {
    equal(error instanceof UsageError, true, String(error));
    const received = (error as Error).message;
    if (typeof message === "string") equal(received, message);
    else equal(message.test(received), true, received);
    return true;
  });
}

Deno.test("without arguments every option has its default", () => {
  const { values, given } = parse();
  deepEqual(values, {
    batchSize: 8,
    lr: "auto",
    temperature: 1,
    dropout: 0,
    optimizer: "koala++",
    data: [],
    seed: undefined,
    out: "runs",
    prompt: "Once",
    tie: true,
    bias: false,
  });
  deepEqual([...given], []);
});

Deno.test("the table gives the values their types", () => {
  const { values } = parse();
  // These lines are checked by the compiler: each assignment fails if the inferred type is another.
  const batchSize: number = values.batchSize;
  const lr: number | "auto" = values.lr;
  const optimizer: "koala++" | "adamw" = values.optimizer;
  const data: readonly string[] = values.data;
  const seed: number | undefined = values.seed;
  const bias: boolean = values.bias;
  // @ts-expect-error seed may be undefined
  const wrong: number = values.seed;
  deepEqual([batchSize, lr, optimizer, data, seed, bias, wrong], [
    8,
    "auto",
    "koala++",
    [],
    undefined,
    false,
    undefined,
  ]);
});

Deno.test("values may follow a space or an equals sign, and the names given are told", () => {
  const { values, given } = parse("--batch-size", "16", "--lr=1e-2", "--out=a=b", "--optimizer", "adamw");
  deepEqual([values.batchSize, values.lr, values.out, values.optimizer], [16, 0.01, "a=b", "adamw"]);
  deepEqual([...given].sort(), ["batchSize", "lr", "optimizer", "out"]);
});

Deno.test("negative numbers and texts that begin with a dash are values", () => {
  equal(parse("--temperature", "-1.5").values.temperature, -1.5);
  equal(parse("--temperature=-2").values.temperature, -2);
  equal(parse("--prompt", "- a list").values.prompt, "- a list");
  equal(parse("--prompt=--bias").values.prompt, "--bias");
});

Deno.test("switches are on, off, or spelt out", () => {
  deepEqual([parse("--bias").values.bias, parse("--no-tie").values.tie], [true, false]);
  deepEqual([parse("--bias=false").values.bias, parse("--tie=true").values.tie], [false, true]);
  refuses(() => parse("--bias=yes"), 'option --bias must be true or false, received "yes"');
});

Deno.test("the last of repeated values wins, and repeatable options gather all", () => {
  equal(parse("--batch-size", "1", "--batch-size", "2").values.batchSize, 2);
  equal(parse("--bias", "--no-bias").values.bias, false);
  deepEqual(parse("--data", "a", "--bias", "--data=b").values.data, ["a", "b"]);
  deepEqual(parse("--data", "a.txt", "b.txt", "--bias").values.data, ["a.txt", "b.txt"]);
});

Deno.test("an unknown option is named with the one that was meant", () => {
  refuses(() => parse("--bacth-size", "4"), "unknown option --bacth-size; did you mean --batch-size?");
  refuses(() => parse("--batch_size=4"), "unknown option --batch_size; did you mean --batch-size?");
  refuses(() => parse("--colour"), "unknown option --colour");
  refuses(() => parse("-x"), "unknown option -x");
  refuses(() => parse("--no-colour"), "unknown option --no-colour");
  refuses(() => parse("--__proto__=1"), "unknown option --__proto__");
  refuses(() => parse("--constructor"), "unknown option --constructor");
});

Deno.test("arguments that belong to no option are refused", () => {
  refuses(() => parse("text.txt"), /^unexpected argument "text.txt"/);
  refuses(() => parse("--out", "a", "b"), /^unexpected argument "b"/);
  refuses(() => parse("--"), /^unexpected argument "--"/);
});

Deno.test("a missing value is named, and the next option is not taken for it", () => {
  refuses(() => parse("--batch-size"), "option --batch-size must have a value, an integer of at least 1");
  refuses(
    () => parse("--out", "--bias"),
    /^option --out must have a value, .*received --bias; .*--out=VALUE$/,
  );
  refuses(() => parse("--no-out"), "option --no-out is not a switch: --out takes a value");
});

Deno.test("a bad value is refused with what is allowed and what was received", () => {
  const cases: [string[], string][] = [
    [["--batch-size", "0"], 'option --batch-size must be an integer of at least 1, received "0"'],
    [["--batch-size", "1.5"], 'option --batch-size must be an integer of at least 1, received "1.5"'],
    [["--batch-size", ""], 'option --batch-size must be an integer of at least 1, received ""'],
    [["--batch-size", "0x10"], 'option --batch-size must be an integer of at least 1, received "0x10"'],
    [["--lr", "0"], 'option --lr must be a number greater than 0 and less than 1 or auto, received "0"'],
    [
      ["--lr", "fast"],
      'option --lr must be a number greater than 0 and less than 1 or auto, received "fast"',
    ],
    [["--temperature", "Infinity"], 'option --temperature must be a number, received "Infinity"'],
    [["--temperature", "1e999"], 'option --temperature must be a number, received "1e999"'],
    [["--dropout", "1"], 'option --dropout must be a number from 0 to 0.9, received "1"'],
    [["--optimizer", "adam"], 'option --optimizer must be one of koala++, adamw, received "adam"'],
    [["--out", ""], 'option --out must be a text that is not empty, received ""'],
  ];
  for (const [args, message] of cases) refuses(() => parse(...args), message);
  equal(parse("--prompt", "").values.prompt, "");
});

Deno.test("a required option must be given", () => {
  const table = { checkpoint: { type: "string", required: true, description: "folder" } } as const;
  refuses(() => parseOptions(table, []), "option --checkpoint is required");
  const checkpoint: string = parseOptions(table, ["--checkpoint", "x"]).values.checkpoint;
  equal(checkpoint, "x");
});

Deno.test("a config file gives options in kebab-case or camelCase, and the command line wins", () => {
  const text = JSON.stringify({
    "batch-size": 4,
    temperature: 0.5,
    data: ["a", "b"],
    bias: true,
    tie: false,
  });
  const { values, given } = withConfig(text, "--batch-size", "2");
  deepEqual(
    [values.batchSize, values.temperature, values.data, values.bias, values.tie],
    [2, 0.5, ["a", "b"], true, false],
  );
  deepEqual([...given].sort(), ["batchSize", "bias", "data", "temperature", "tie"]);
  equal(withConfig('{ "batchSize": 3 }').values.batchSize, 3);
  deepEqual(withConfig('{ "data": "a" }', "--data", "c").values.data, ["c"]);
  deepEqual(withConfig('{ "data": "a" }').values.data, ["a"]);
});

Deno.test("mistakes in a config file name the file, the key and what is allowed", () => {
  const cases: [string, string | RegExp][] = [
    [
      '{ "bacth-size": 1 }',
      /^config file my.json: key "bacth-size" is not an option; did you mean batch-size\?/,
    ],
    ['{ "colour": 1 }', /^config file my.json: key "colour" is not an option; there are batch-size, lr, /],
    ['{ "config": "b.json" }', /^config file my.json: key "config" is not an option/],
    [
      '{ "batchSize": 0 }',
      'config file my.json: key "batchSize" must be an integer of at least 1, received 0',
    ],
    [
      '{ "batch-size": "4" }',
      'config file my.json: key "batch-size" must be an integer of at least 1, received "4"',
    ],
    ['{ "bias": 1 }', 'config file my.json: key "bias" must be true or false, received 1'],
    ['{ "seed": null }', 'config file my.json: key "seed" must be an integer, received null'],
    ['{ "out": ["a"] }', 'config file my.json: key "out" must be a text that is not empty, received ["a"]'],
    ['{ "data": [1] }', /^config file my.json: key "data" must be .*or an array of such, received \[1\]$/],
    ['{ "batch-size": 1, "batchSize": 1 }', /given twice, as batch-size and as batchSize$/],
    ["[]", /^config file my.json must hold a JSON object/],
    ["{", /^config file my.json must be JSON: /],
  ];
  for (const [text, message] of cases) refuses(() => withConfig(text), message);
});

Deno.test("a config file that cannot be read is named", () => {
  const read = () => {
    throw new Deno.errors.NotFound("No such file or directory (os error 2)");
  };
  refuses(
    () => parseOptions(table, ["--config", "no.json"], read),
    "cannot read config file no.json: there is no such file",
  );
});
