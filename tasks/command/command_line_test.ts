import { deepEqual, equal, match, ok } from "node:assert/strict";
import { executeTask, explainError, jsonOption, type Task, UsageError } from "./command_line.ts";

const options = {
  steps: { type: "integer", min: 1, default: 3, description: "steps" },
  json: jsonOption,
} as const;

async function run(main: Task<typeof options>["main"], ...args: string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const code = await executeTask({ name: "demo", summary: "Does it.", options, main }, {
    args,
    stdout: (line) => out.push(line),
    stderr: (line) => err.push(line),
  });
  return { code, out, err };
}

Deno.test("a task that ends gives 0, and gets its options and which of them were given", async () => {
  const result = await run(
    ({ steps }, { given, output }) => {
      output.say(`${steps} ${[...given]}`);
    },
    "--steps",
    "5",
  );
  deepEqual(result, { code: 0, out: ["5 steps"], err: [] });
});

Deno.test("a task goes on when its terminal is gone, and its lines with it", async () => {
  let done = false;
  const stdout = () => {
    throw new Error("Input/output error (os error 5)");
  };
  const main: Task<typeof options>["main"] = (_, { output }) => {
    output.say("still here");
    done = true;
  };
  const code = await executeTask({ name: "demo", summary: "Does it.", options, main }, { args: [], stdout });
  deepEqual([code, done], [0, true]);
});

Deno.test("help goes to standard output with 0, without running, whatever else is on the line", async () => {
  for (const args of [["--help"], ["-h"], ["--stpes", "0", "--help"]]) {
    const { code, out, err } = await run(() => {
      throw new Error("must not run");
    }, ...args);
    deepEqual([code, err], [0, []]);
    ok(out[0].startsWith("Usage: deno task demo [options]"));
  }
});

Deno.test("wrong usage gives 2, one error and a pointer to the help", async () => {
  const expected = [
    "error: unknown option --stpes; did you mean --steps?",
    "See all options with: deno task demo --help",
  ];
  const { code, out, err } = await run(() => {}, "--stpes", "4");
  deepEqual([code, out, err.map(plain)], [2, [], expected]);
});

Deno.test("a UsageError from the task itself gives 2, any other error 1", async () => {
  const usage = await run(() => {
    throw new UsageError("steps and epochs cannot both be given");
  });
  equal(usage.code, 2);
  const failure = await run(() => Promise.reject(new Error("disk full")));
  deepEqual([failure.code, failure.out, failure.err.map(plain)], [1, [], ["error: disk full"]]);
});

Deno.test("a stack trace appears only with --debug", async () => {
  const fail = () => {
    throw new Error("broken");
  };
  equal((await run(fail)).err.join("\n").includes("command_line_test.ts"), false);
  equal((await run(fail, "--debug")).err.join("\n").includes("command_line_test.ts"), true);
});

Deno.test("with --json the result alone is on standard output, as one JSON document", async () => {
  const main: Task<typeof options>["main"] = (_, { output }) => {
    output.say("working");
    output.result({ loss: 1.5 }, "the loss is 1.5");
  };
  deepEqual(await run(main, "--json"), { code: 0, out: ['{"loss":1.5}'], err: ["working"] });
  deepEqual(await run(main), { code: 0, out: ["working", "the loss is 1.5"], err: [] });
});

Deno.test("a second result is refused", async () => {
  const { code, out } = await run((_, { output }) => {
    output.result(1);
    output.result(2);
  }, "--json");
  deepEqual([code, out], [1, ["1"]]);
});

Deno.test("explainError() adds causes and gathered errors, once each", () => {
  const cause = new Error("no space left");
  equal(explainError(new Error("cannot save", { cause })), "cannot save: no space left");
  equal(explainError(new Error("cannot save: no space left", { cause })), "cannot save: no space left");
  equal(
    explainError(new AggregateError([new Error("a is bad"), new Error("b is bad")], "two")),
    "two: a is bad: b is bad",
  );
  equal(explainError("text"), "text");
  const circle = new Error("round");
  circle.cause = circle;
  equal(explainError(circle), "round");
});

Deno.test("explainError() says what to do where a permission is missing", () => {
  equal(
    explainError(
      new Deno.errors.NotCapable('Requires read access to "/x", run again with the --allow-read flag'),
    ),
    'Deno did not allow read access to "/x": the task\'s line in deno.json must have --allow-read for it, ' +
      "or run the file under tasks/ yourself with `deno run --allow-read ...`",
  );
  match(
    explainError(
      new Deno.errors.NotCapable('Requires net access to "a.org:443", run again with the --allow-net flag'),
    ),
    /^Deno did not allow net access to a\.org:443, .* with --allow-net=a\.org:443 added$/,
  );
  ok(
    explainError(new Deno.errors.PermissionDenied("Permission denied (os error 13), open '/x'")).includes(
      "/x",
    ),
  );
});

/** Without the colours that a terminal gets. */
function plain(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replaceAll(/\x1b\[[0-9;]*m/g, "");
}
