import { deepEqual, equal, match, notDeepEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import { refused, runTask, tinyRun } from "../cli.ts";

interface Result {
  readonly prompt: string;
  readonly text: string;
  readonly ids: number[];
  readonly ended: string;
  readonly seed: number;
}

/** A trained checkpoint, and the task on it. */
async function trained() {
  const tiny = await tinyRun();
  const out = join(tiny.dir, "run");
  const sampling = ["--prompt", "the sun", "--sample-tokens", "12", "--seed", "5", "--json"];
  const { code, stdout, stderr } = await runTask("train-lm", [...tiny.options, "--out", out, ...sampling]);
  equal(code, 0, stderr);
  const checkpoint = join(out, "checkpoints/step-00000024");
  const run = (...args: string[]) => runTask("generate", ["--checkpoint", checkpoint, ...args]);
  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(...args, "--json");
    equal(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const one = async (...args: string[]): Promise<Result> => await json(...args);
  const many = async (...args: string[]): Promise<Result[]> => (await json(...args)).results;
  return {
    dir: tiny.dir,
    checkpoint,
    sample: JSON.parse(stdout).sample,
    run,
    one,
    many,
    [Symbol.asyncDispose]: () => tiny[Symbol.asyncDispose](),
  };
}

Deno.test("a run's sample is what its checkpoint generates", async () => {
  await using task = await trained();
  const { text } = await task.one(
    "--prompt",
    "the sun",
    ..."--max-tokens 12 --seed 5 --temperature 0.8".split(" "),
  );
  ok(text !== "");
  equal(task.sample, `the sun${text}`);
});

Deno.test("many prompts and samples give the texts that each gives alone", async () => {
  await using task = await trained();
  const drawn = "--temperature 1 --top-k 40 --top-p 0.95 --min-p 0.01 --max-tokens 40 --seed 5".split(" ");
  const file = join(task.dir, "prompts.txt");
  await Deno.writeTextFile(file, "seven old men\r\n\nrain\n");
  const results = await task.many(
    "--prompt",
    "the sun",
    "a",
    "--prompts-file",
    file,
    "--num-samples",
    "2",
    ...drawn,
  );
  deepEqual(
    results.map(({ prompt, seed }) => [prompt, seed]),
    ["the sun", "a", "seven old men", "rain"].flatMap((prompt) => [[prompt, 5], [prompt, 6]]),
  );
  for (const i of [0, 1, 5]) {
    const { prompt, seed, ...rest } = results[i];
    const alone = await task.one("--prompt", prompt, ...drawn, "--seed", String(seed));
    deepEqual({ text: alone.text, ids: alone.ids, ended: alone.ended }, rest);
  }
  notDeepEqual(results[1].ids, results[0].ids);

  const { stdout } = await task.run("--prompt", "the sun", "a", "--num-samples", "2", ...drawn);
  const shown = results.slice(0, 4).map(({ prompt, text }, i) =>
    `== prompt ${i >> 1 ? 2 : 1}, sample ${i % 2 + 1} ==\n${prompt}${text}\n`
  );
  equal(stdout, shown.join("\n"));
});

Deno.test("a text ends before a stop string and at any of the model's end tokens", async () => {
  await using task = await trained();
  const greedy = ["--prompt", "the sun", ..."--temperature 0 --max-tokens 60".split(" ")];
  const whole = await task.one(...greedy);
  deepEqual([whole.ended, whole.ids.length], ["length", 60]);
  const stop = whole.text.slice(9, 14);
  const cut = await task.one(...greedy, "--stop", "\\n\\n\\n", "--stop", stop.replaceAll("\n", "\\n"));
  const at = whole.text.indexOf(stop);
  deepEqual([cut.text, cut.ended], [whole.text.slice(0, at), "stop"]);
  ok(cut.ids.length < 60);
  const { stdout } = await task.run(...greedy, "--stop", stop.replaceAll("\n", "\\n"));
  equal(stdout, `the sun${whole.text.slice(0, at)}\n`);

  const penalized = await task.one(...greedy, "--repetition-penalty", "1.5");
  const distinct = ({ ids }: Result) => new Set(ids).size;
  ok(distinct(penalized) > distinct(whole), `${distinct(penalized)} and ${distinct(whole)} different tokens`);

  // As Llama 3's folders do, several tokens may end a text.
  const last = whole.ids[4];
  const config = JSON.stringify({ eos_token_id: [299, last] });
  await Deno.writeTextFile(join(task.checkpoint, "generation_config.json"), config);
  const ended = await task.one(...greedy);
  deepEqual([ended.ids, ended.ended], [whole.ids.slice(0, whole.ids.indexOf(last) + 1), "eos"]);
  ok(whole.text.startsWith(ended.text) && ended.text.length < whole.text.length);
});

Deno.test("the empty prompt begins a text as the end-of-text token does", async () => {
  await using task = await trained();
  const drawn = ["--max-tokens", "12", "--seed", "2"];
  const [empty, named] = await task.many("--prompt", "", "--prompt", "<|endoftext|>", ...drawn);
  deepEqual(empty.ids, named.ids);

  refused(
    await task.run("--prompts-file", join(task.dir, "none")),
    2,
    /--prompts-file .* there is no file .*none/,
  );
  await Deno.writeTextFile(join(task.dir, "empty.txt"), "\n\n");
  refused(await task.run("--prompts-file", join(task.dir, "empty.txt")), 2, /has no text/);
  refused(await task.run("--min-p", "1.5"), 2, /--min-p must be a number from 0 to 1, received "1.5"/);
  refused(
    await task.run("--repetition-penalty", "0"),
    2,
    /--repetition-penalty must be a number greater than 0/,
  );

  // Without any token that begins or ends a text there is nothing to start from.
  const path = join(task.checkpoint, "tokenizer.json");
  await Deno.writeTextFile(path, (await Deno.readTextFile(path)).replaceAll("<|endoftext|>", "<|other|>"));
  for (const name of ["config.json", "generation_config.json"]) {
    const text = await Deno.readTextFile(join(task.checkpoint, name));
    await Deno.writeTextFile(
      join(task.checkpoint, name),
      text.replaceAll(/"(bos|eos)_token_id": \d+/g, '"$1": 0'),
    );
  }
  refused(await task.run("--prompt", ""), 2, /must have at least one token, got "".*give a prompt/);
  match((await task.run("--prompt", "rain", "--max-tokens", "2")).stdout, /^rain/);
});
