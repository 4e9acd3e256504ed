import { equal, match } from "node:assert/strict";
import { join } from "node:path";

Deno.test("mod.ts trains when it is imported from a URL, in an empty folder, without an import map", async () => {
  const root = new URL("..", import.meta.url);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    if (!/^\/[\w/]+\.ts$/.test(pathname)) return new Response("not found", { status: 404 });
    const text = await Deno.readTextFile(new URL(`.${pathname}`, root)).catch(() => null);
    return text === null
      ? new Response("not found", { status: 404 })
      : new Response(text, { headers: { "content-type": "application/typescript" } });
  });
  const dir = await Deno.makeTempDir();
  try {
    const host = `127.0.0.1:${server.addr.port}`;
    const names = "{ adamw, gpt2, languageModelLoss, requestGpu, Tokenizer, Trainer }";
    const importLine = ["import", names, "from", JSON.stringify(`http://${host}/mod.ts`)].join(" ");
    await Deno.writeTextFile(
      join(dir, "main.ts"),
      `${importLine}
const gpu = await requestGpu();
const model = gpt2({ vocab_size: 32, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2 });
const trainer = await Trainer.create(gpu, { record: languageModelLoss(model, 2, 8), optimizer: adamw({ lr: 0.01 }) });
const tokens = Uint32Array.from({ length: 16 }, (_, i) => i);
for (let step = 0; step < 2; step++) trainer.step([{ tokens, targets: tokens.map((id) => id + 1) }]);
const [first, second] = await trainer.metrics();
console.log(second.loss < first.loss && typeof Tokenizer.fromJson === "function" ? "it learns" : "it does not learn");
trainer.destroy();
gpu.destroy();
`,
    );
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--no-config",
        "--no-lock",
        `--allow-import=${host}`,
        `--reload=http://${host}`,
        "main.ts",
      ],
      cwd: dir,
      env: { NO_COLOR: "1" },
    }).output();
    equal(code, 0, new TextDecoder().decode(stderr));
    match(new TextDecoder().decode(stdout), /it learns/);
  } finally {
    await server.shutdown();
    await Deno.remove(dir, { recursive: true });
  }
});
