/** `export-hf --push-to-hub` as a process of its own against a hub on the loopback interface. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { hubFetch } from "../../hub/fetch.ts";
import { writeModelFolder } from "../../checkpoint/hugging_face.ts";
import { modelFromConfig } from "../../models/load.ts";
import { filesIn, refused, runTask, startTask, type TaskResult, zeros } from "../cli.ts";
import { failure, type LoopbackHub, startHub } from "../hub_server.ts";

const CONFIG = { model_type: "gpt2", n_positions: 8, n_embd: 32, n_layer: 2, n_head: 2, vocab_size: 64 };
/** Weights that come to three files of this size. */
const SHARDS = ["--max-shard-size", "50KB"];

/** A folder with a model, a hub, and the task that brings one to the other. */
interface Scene extends AsyncDisposable {
  readonly dir: string;
  readonly out: string;
  readonly hub: LoopbackHub;
  readonly env: Record<string, string>;
  /** Exports and pushes to me/tiny. */
  push(...args: string[]): Promise<TaskResult>;
  /** Pushes what was exported before. */
  pushAgain(...args: string[]): Promise<TaskResult>;
}

async function scene(): Promise<Scene> {
  const dir = await Deno.makeTempDir();
  const hub = startHub();
  const out = join(dir, "out");
  const tensors = zeros(modelFromConfig(CONFIG)).map((tensor, i) => {
    const values = new Float32Array(tensor.shape.reduce((a, b) => a * b, 1)).map((_, j) =>
      Math.fround(Math.sin(i + j / 7))
    );
    return { ...tensor, data: new Uint8Array(values.buffer) };
  });
  await writeModelFolder(join(dir, "model"), {
    config: CONFIG,
    tensors,
    tokenizerJson: JSON.stringify({ model: { vocab: { a: 0 } } }),
    chatTemplate: "{{ messages }}\n",
  });
  // Proxies are for other addresses.
  const env = { HF_ENDPOINT: hub.endpoint, HF_TOKEN: hub.token, NO_PROXY: "127.0.0.1" };
  const pushAgain = (...args: string[]) => {
    return runTask("export-hf", ["--out", out, "--push-to-hub", "me/tiny", ...args], env);
  };
  return {
    dir,
    out,
    hub,
    env,
    push: (...args) => pushAgain("--checkpoint", join(dir, "model"), ...args),
    pushAgain,
    async [Symbol.asyncDispose]() {
      await hub[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

/** Holds the repository to the folder, byte for byte. */
async function sameFiles({ hub, out }: Scene): Promise<void> {
  const { files } = hub.repos.get("me/tiny")!;
  deepEqual([...files.keys()].sort(), await filesIn(out));
  for (const [path, bytes] of files) deepEqual(bytes, await Deno.readFile(join(out, path)), path);
}

/** The uploads to the storage. */
function uploads({ requests }: LoopbackHub): string[] {
  return requests.filter((request) => request.startsWith("PUT storage/"));
}

Deno.test("--push-to-hub makes a private repository with the exported files, byte for byte", async () => {
  await using at = await scene();
  const { code, stdout, stderr } = await at.push("--license", "mit", "--json");
  equal(code, 0, stderr);
  const repo = at.hub.repos.get("me/tiny")!;
  const { url, commit, private: isPrivate, files } = JSON.parse(stdout);
  deepEqual([url, commit, isPrivate], [`${at.hub.endpoint}/me/tiny`, repo.commits[0], true]);
  equal(repo.commits.length, 1);
  equal(repo.private, true);
  const tokenizer = ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"];
  deepEqual(files, [
    "README.md",
    tokenizer[0],
    "config.json",
    "generation_config.json",
    "model.safetensors",
    ...tokenizer.slice(1),
  ]);
  await sameFiles(at);
  match(new TextDecoder().decode(repo.files.get("README.md")), /\npath = "me\/tiny"\n/);
  equal(uploads(at.hub).length, 1);
  match(stderr, /model\.safetensors: sending\n(.*\n)*model\.safetensors: sent\n/);
  ok(!(stdout + stderr).includes(at.hub.token), "the token must not be printed");
});

/** Makes a symbolic link, for which Deno itself wants permission to write everywhere. */
async function makeLink(target: string, path: string): Promise<void> {
  const { success } = await new Deno.Command("ln", { args: ["-s", target, path] }).output();
  ok(success, `${path} must become a link`);
}

Deno.test("a link out of the folder is refused before anything is sent, and one within it is followed", async () => {
  await using at = await scene();
  equal((await at.push()).code, 0);
  const { commits } = at.hub.repos.get("me/tiny")!;
  const link = join(at.out, "notes.txt");
  await Deno.writeTextFile(join(at.dir, "secret.txt"), "secret");
  for (
    const [target, message] of [
      ["../secret.txt", /notes\.txt is a link out of the folder, to .*secret\.txt; put a copy/],
      ["../none.txt", /notes\.txt is a link that leads nowhere; remove it/],
    ] as const
  ) {
    await makeLink(target, link);
    const requests = at.hub.requests.length;
    refused(await at.pushAgain(), 1, message);
    equal(at.hub.requests.length, requests);
    await Deno.remove(link);
  }
  await makeLink("README.md", link);
  await makeLink(at.dir, join(at.out, "folder"));
  const { code, stderr } = await at.pushAgain();
  equal(code, 0, stderr);
  equal(commits.length, 2);
  await Deno.remove(join(at.out, "folder"));
  await sameFiles(at);
});

Deno.test("--public makes a public repository, and large files go up in parts", async () => {
  await using at = await scene();
  at.hub.partBytes = 30_000;
  const { code, stderr } = await at.push("--public");
  equal(code, 0, stderr);
  equal(at.hub.repos.get("me/tiny")!.private, false);
  await sameFiles(at);
  const { size } = await Deno.stat(join(at.out, "model.safetensors"));
  equal(uploads(at.hub).length, Math.ceil(size / at.hub.partBytes));
});

/** Lets all uploads through but the first, which is answered when the two others are stored. */
function holdFirstUpload(hub: LoopbackHub, answer: () => Response): void {
  let isFirst = true;
  hub.intercept = async (request) => {
    if (!isFirst || !request.startsWith("PUT storage/")) return undefined;
    isFirst = false;
    while (hub.objects.size < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    return answer();
  };
}

/** Pushes again what a push has left undone, and holds it to send nothing twice. */
async function repeats(at: Scene): Promise<void> {
  deepEqual(at.hub.repos.get("me/tiny")!.commits, [], "no commit before everything is there");
  const before = await filesIn(at.dir);
  at.hub.requests.length = 0;
  const again = await at.pushAgain();
  equal(again.code, 0, again.stderr);
  deepEqual(await filesIn(at.dir), before);
  equal(uploads(at.hub).length, 1);
  equal(again.stdout.match(/is there already/g)!.length, 2);
  await sameFiles(at);

  at.hub.requests.length = 0;
  equal((await at.pushAgain()).code, 0);
  deepEqual(uploads(at.hub), []);
}

Deno.test("a failed push is repeated from the folder alone, and sends only what the hub does not have", async () => {
  await using at = await scene();
  holdFirstUpload(at.hub, () => failure(400, "no"));
  const failed = await at.push(...SHARDS);
  refused(failed, 1, /127\.0\.0\.1:\d+, which takes the large files, answered 400/);
  match(
    failed.stderr,
    /complete: repeat only the push by `deno task export-hf --out \S+ --push-to-hub me\/tiny`/,
  );
  ok(!/signature|secret/.test(failed.stderr), "an address that is signed must not be printed whole");
  await repeats(at);
});

Deno.test("a killed push is repeated from the folder alone, and sends only what the hub does not have", async () => {
  await using at = await scene();
  const args = [
    "--checkpoint",
    join(at.dir, "model"),
    "--out",
    at.out,
    "--push-to-hub",
    "me/tiny",
    ...SHARDS,
  ];
  const child = startTask("export-hf", args, at.env);
  holdFirstUpload(at.hub, () => {
    child.kill("SIGKILL");
    return failure(400, "nobody hears this");
  });
  equal((await child.output()).signal, "SIGKILL");
  await repeats(at);
});

Deno.test("weights of an earlier push under other names go", async () => {
  await using at = await scene();
  equal((await at.push(...SHARDS)).code, 0);
  await Deno.remove(at.out, { recursive: true });
  at.hub.repos.get("me/tiny")!.files.set("notes.safetensors", Uint8Array.of(1));
  const { code, stdout, stderr } = await at.push("--json");
  equal(code, 0, stderr);
  const shards = [1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`);
  deepEqual(JSON.parse(stdout).removed.sort(), [...shards, "model.safetensors.index.json"].sort());
  ok(at.hub.repos.get("me/tiny")!.files.delete("notes.safetensors"), "what is not of this program stays");
  await sameFiles(at);
});

Deno.test("a busy hub is asked again", async () => {
  await using at = await scene();
  const answers: Record<string, Response[]> = {
    "POST /api/repos/create": [failure(503, "busy")],
    "POST /api/models/me/tiny/preupload/main": [failure(429, "slow down"), failure(500, "oops")],
    "POST /api/models/me/tiny/commit/main": [failure(502, "bad gateway")],
  };
  let isFirst = true;
  at.hub.intercept = (request) => {
    if (!request.startsWith("PUT storage/") || !isFirst) return answers[request]?.shift();
    isFirst = false;
    return failure(504, "timeout");
  };
  const { code, stdout, stderr } = await at.push();
  equal(code, 0, stderr);
  for (const status of [503, 429, 500, 504, 502]) {
    match(stdout, new RegExp(`answered ${status}; trying again in 0 s`));
  }
  await sameFiles(at);
  equal(at.hub.repos.get("me/tiny")!.commits.length, 1);
});

Deno.test("hubFetch() sends a blob again when the connection broke, and counts it once", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const received: number[] = [];
  const serving = (async () => {
    // Bytes of the body that each connection waits for. The second is then closed without an answer.
    for (const awaited of [0, 1, 70_000]) {
      using connection = await listener.accept();
      const buffer = new Uint8Array(65536);
      let body: string | undefined;
      for (let text = ""; body === undefined || body.length < awaited;) {
        const count = await connection.read(buffer);
        text += new TextDecoder("latin1").decode(buffer.subarray(0, count ?? 0));
        body = text.split("\r\n\r\n")[1];
      }
      received.push(body.length);
      const answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
      if (awaited !== 1) await connection.write(new TextEncoder().encode(answer));
    }
  })();
  let sent = 0;
  const retries: [string, number][] = [];
  const send = hubFetch({
    onSent: (bytes) => sent += bytes,
    onRetry: (...retry) => retries.push(retry),
  });
  const url = `http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
  await (await send(url)).body?.cancel();
  const response = await send(url, { method: "PUT", body: new Blob(["x".repeat(70_000)]) });
  await response.body?.cancel();
  await serving;
  equal(response.status, 200);
  deepEqual([received[2], sent], [70_000, 70_000]);
  deepEqual(retries.map(([reason, seconds]) => [reason, seconds > 0 && seconds <= 0.5]), [[
    "the connection broke",
    true,
  ]]);
});

Deno.test("a repository that is there is used; a public one only with --public", async () => {
  await using at = await scene();
  at.hub.repos.set("me/tiny", { private: false, files: new Map(), commits: [] });
  refused(await at.push(), 1, /me\/tiny is public, .*give --public if that is meant/);
  equal((await at.pushAgain("--public")).code, 0);
  at.hub.repos.get("me/tiny")!.private = true;
  let asked = 0;
  // Made by somebody else after it was looked for: the hub answers 409 to its making.
  at.hub.intercept = (request) =>
    request.includes("/revision/") && ++asked === 1 ? failure(404, "none") : undefined;
  const { code, stdout, stderr } = await at.pushAgain("--public");
  equal(code, 0, stderr);
  match(stdout, /it was private before and stays so/);
  ok(at.hub.requests.includes("POST /api/repos/create"));
});

Deno.test("--push-to-hub refuses what cannot be pushed before it does anything", async () => {
  await using at = await scene();
  await Deno.copyFile(join(at.dir, "model", "config.json"), join(at.dir, "file"));
  const before = await filesIn(at.dir);
  const model = ["--checkpoint", join(at.dir, "model"), "--out", at.out];
  const push = ["--push-to-hub", "me/tiny"];
  const cases: [string[], Record<string, string>, 1 | 2, RegExp][] = [
    [
      [...model, ...push],
      { HF_TOKEN: "" },
      2,
      /HF_TOKEN must hold an access token .*got none; make one .*tokens/,
    ],
    [[...model, ...push], { HF_TOKEN: "secret" }, 2, /HF_TOKEN must .*starts with hf_, got something else/],
    [[...model, ...push], { HF_ENDPOINT: "huggingface" }, 2, /HF_ENDPOINT must be the address of a hub/],
    ...["tiny", "a/b/c", "me/ti ny", "me/-", "me/a..b", "me/a.git", "/a"].map((name) => {
      return [[...model, "--push-to-hub", name], {}, 2, /--push-to-hub: .* must be user\/name/] as [
        string[],
        object,
        2,
        RegExp,
      ];
    }),
    [[...model, "--public"], {}, 2, /--public must come with --push-to-hub/],
    [["--out", at.out], {}, 2, /--checkpoint must be given, or --push-to-hub/],
    [
      ["--out", join(at.dir, "model"), ...push],
      {},
      2,
      /export-hf has written, but .*model has no README\.md/,
    ],
    [
      ["--out", join(at.dir, "model"), "--dtype", "f16", ...push],
      {},
      2,
      /--dtype must come with --checkpoint/,
    ],
    [["--out", at.out, ...push], {}, 1, /Cannot read the model folder/],
    [
      [...model.slice(0, 3), join(at.dir, "model"), ...push],
      {},
      2,
      /or leave out --checkpoint to push what is there/,
    ],
  ];
  for (const [args, env, exit, message] of cases) {
    const result = await runTask("export-hf", args, { ...at.env, ...env });
    refused(result, exit, message);
    ok(!result.stderr.includes("secret"));
  }
  deepEqual(await filesIn(at.dir), before);
  deepEqual(at.hub.requests, []);
});

Deno.test("what a hub refuses is one clear message without the token", async () => {
  await using at = await scene();
  equal((await runTask("export-hf", ["--checkpoint", join(at.dir, "model"), "--out", at.out])).code, 0);
  const name = "me/tiny";
  const cases: [string, Record<string, string>, string | undefined, number, RegExp][] = [
    [
      name,
      { HF_TOKEN: "hf_another" },
      undefined,
      0,
      /token must be valid, but .* refuses it; make one at .*tokens .*Invalid/,
    ],
    ["you/tiny", {}, undefined, 0, /must be allowed to write to you\/tiny, but is not.*no rights to create/],
    [name, {}, "commit", 403, /must be allowed to write to me\/tiny/],
    [name, {}, "preupload", 404, /me\/tiny must be on .* but was not found/],
    [name, {}, "commit", 409, /me\/tiny was changed by somebody else/],
    [name, {}, "commit", 503, /answered 503 again and again; wait a while/],
    [name, {}, "commit", 418, new RegExp(`answered 418 \\(it says: not hf_…`)],
    [name, {}, "revision", 200, /must answer as the Hugging Face Hub does, but does not; check HF_ENDPOINT/],
    [
      name,
      { HF_ENDPOINT: "http://127.0.0.1:9" },
      undefined,
      0,
      /127\.0\.0\.1:9 cannot be reached: .*check the network/,
    ],
  ];
  for (const [repo, env, call, status, message] of cases) {
    at.hub.intercept = (request) => {
      if (!call || !request.includes(`/${call}/`)) return undefined;
      return status === 200 ? new Response("<html>") : failure(status, `not ${at.hub.token}`);
    };
    const result = await runTask("export-hf", ["--out", at.out, "--push-to-hub", repo, "--debug"], {
      ...at.env,
      ...env,
    });
    equal(result.code, 1, `${message}: ${result.stderr}`);
    match(result.stderr, message);
    match(result.stderr, /complete: repeat only the push by/);
    ok(!/TheOnlyToken|hf_another/.test(result.stderr + result.stdout), "the token must not be printed");
  }
});

Deno.test("export-hf without --push-to-hub gives up the network and the environment", async () => {
  await using at = await scene();
  const script = `
    import { pushTarget } from ${
    JSON.stringify(new URL("../../tasks/model/push_to_hub.ts", import.meta.url))
  };
    pushTarget({ public: false });
    const refused = [];
    await fetch(${JSON.stringify(at.hub.endpoint)}).catch((error) => refused.push(error.name));
    try { Deno.env.get("HF_TOKEN"); } catch (error) { refused.push(error.name); }
    console.log(refused.join());
  `;
  await Deno.writeTextFile(join(at.dir, "script.ts"), script);
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-net", "--allow-env=HF_TOKEN", join(at.dir, "script.ts")],
  }).output();
  equal(new TextDecoder().decode(stdout).trim(), "NotCapable,NotCapable");
  deepEqual(at.hub.requests, []);
});
