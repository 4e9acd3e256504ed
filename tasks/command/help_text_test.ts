import { equal, ok } from "node:assert/strict";
import { helpText } from "./help_text.ts";
import { jsonOption } from "./command_line.ts";

Deno.test("helpText() shows usage, summary, options in columns with defaults and choices, and examples", () => {
  const text = helpText({
    name: "train-lm",
    summary: "Trains a language model.",
    options: {
      "json": jsonOption,
      "batch-size": { type: "integer", min: 1, default: 8, description: "sequences per step" },
      "optimizer": {
        type: "choice",
        choices: ["koala++", "adamw"],
        default: "koala++",
        description: "optimizer",
      },
      "checkpoint": { type: "string", placeholder: "DIR", required: true, description: "where it is" },
      "data": { type: "string", multiple: true, description: "texts" },
      "tie": { type: "boolean", default: true, description: "tie weights", group: "Model" },
    },
    examples: ["deno task train-lm --batch-size 4"],
  });
  equal(
    text,
    `Usage: deno task train-lm [options]

Trains a language model.

Options:
  --batch-size N    sequences per step (an integer of at least 1; default: 8)
  --optimizer NAME  optimizer (one of koala++, adamw; default: koala++)
  --checkpoint DIR  where it is (required)
  --data TEXT...    texts

Model:
  --[no-]tie        tie weights (default: on)

General:
  --json            print the result as one JSON document on standard output, alone there
  --config FILE     read options from a JSON file, such as {"steps": 300}; the command line wins
  --debug           show stack traces of errors
  --help            show this help (also -h)

Examples:
  deno task train-lm --batch-size 4`,
  );
});

Deno.test("helpText() wraps at 100 columns and gives a long option its own line", () => {
  const text = helpText({
    name: "x",
    summary: "many words ".repeat(30),
    options: {
      "an-option-with-a-long-name": {
        type: "string",
        placeholder: "PLACEHOLDER",
        description: "word ".repeat(40),
      },
    },
  });
  const lines = text.split("\n");
  ok(lines.every((line) => line.length <= 100));
  const at = lines.indexOf("  --an-option-with-a-long-name PLACEHOLDER");
  ok(at > 0 && /^ {18}word/.test(lines[at + 1].slice(16)), lines[at + 1]);
});
