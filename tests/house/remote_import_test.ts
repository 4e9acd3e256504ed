import { deepEqual, equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { serveSources } from "../source_server.ts";

/** A model of one's own, trained two steps with nothing but what mod.ts exports. */
const script = (origin: string) => `
import {
  adamw,
  constant,
  embedding,
  gelu,
  type Graph,
  hiddenMatrices,
  koalaPlusPlus,
  layerNorm,
  linear,
  linearCrossEntropy,
  normal,
  partition,
  requestGpu,
  Tokenizer,
  Trainer,
} from "${origin}/mod.ts";
import { startTokenizers } from "${origin}/data/tokens/parallel.ts";

const [B, T, C, V] = [2, 8, 16, 32]; // sequences, tokens, channels, vocabulary
function record(g: Graph) {
  const tokens = g.input("tokens", [B, T], "u32");
  const targets = g.input("targets", [B, T], "u32");
  const table = g.parameter("table", [V, C], { init: normal(0.1), role: "embedding" });
  const matrix = g.parameter("matrix", [C, C], { init: normal(0.1) });
  const gain = g.parameter("gain", [C], { init: constant(1), role: "norm" });
  const shift = g.parameter("shift", [C], { init: constant(0), role: "norm" });
  const x = embedding(g, tokens, table); // [B, T, C]
  const y = linear(g, gelu(g, x), matrix, { residual: x });
  return linearCrossEntropy(g, layerNorm(g, y, gain, shift), table, targets);
}

const gpu = await requestGpu();
const optimizer = partition([
  { owns: hiddenMatrices, optimizer: koalaPlusPlus({ lr: 0.02 }) },
  { optimizer: adamw({ lr: 0.01 }) },
]);
const trainer = await Trainer.create(gpu, { record, optimizer });
const tokens = Uint32Array.from({ length: B * T }, (_, i) => i);
const targets = tokens.map((id) => id + 1);
for (let step = 0; step < 2; step++) trainer.step([{ tokens, targets }]);
const losses = (await trainer.metrics()).map(({ loss }) => loss);
trainer.destroy();
gpu.destroy();

const model = { type: "WordPiece", unk_token: "a", continuing_subword_prefix: "##", vocab: { a: 0, b: 1 } };
using tokenizers = await startTokenizers(Tokenizer.fromJson({ added_tokens: [], model }), 2);
async function* texts() {
  yield { text: "b" };
}
const [{ ids }] = await Array.fromAsync(tokenizers.encode(texts()));
console.log(JSON.stringify({ losses, workers: tokenizers.workers, ids: [...ids] }));
`;

Deno.test("mod.ts trains when it is imported from a URL, in an empty folder, without an import map", async () => {
  const dir = await Deno.makeTempDir();
  await using server = serveSources();
  try {
    const { host } = server;
    await Deno.writeTextFile(join(dir, "main.ts"), script(`http://${host}`));
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      // The port may have served another checkout once; npm packages come from Deno's cache.
      args: `run --no-prompt --no-config --no-lock --allow-import=${host} --reload=http://${host} main.ts`
        .split(" "),
      cwd: dir,
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    equal(code, 0, new TextDecoder().decode(stderr));
    const { losses, workers, ids } = JSON.parse(new TextDecoder().decode(stdout));
    ok(losses.length === 2 && losses[1] < losses[0], `the loss must fall, got ${losses}`);
    deepEqual([workers, ids], [2, [1]]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
