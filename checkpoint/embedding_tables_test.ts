import { deepEqual, equal, throws } from "node:assert/strict";
import { type EmbeddingSource, embeddingTables } from "./embedding_tables.ts";

const [VOCAB, WIDTH] = [7, 3];
const llama = { model_type: "llama" };
const tokensOnly = new Map([["model.embed_tokens.weight", { shape: [VOCAB, WIDTH] }]]);

/** A GPT-2 of so many positions, whose tensors come in pieces of so many values. */
function source(positions: number, pieceLength: number): EmbeddingSource {
  const shapes: Record<string, number[]> = {
    "transformer.wte.weight": [VOCAB, WIDTH],
    "transformer.wpe.weight": [positions, WIDTH],
    "transformer.ln_f.bias": [WIDTH],
  };
  const infos = Object.entries(shapes).map(([name, shape]) => {
    const byteLength = shape.reduce((a, b) => a * b, 4);
    return [name, { dtype: "F32", shape, byteOffset: 0, byteLength }] as const;
  });
  return {
    path: "made/up",
    config: { model_type: "gpt2" },
    tensors: new Map(infos),
    async *piecesF32(name) {
      const { byteLength } = infos.find(([own]) => own === name)![1];
      const values = Float32Array.from({ length: byteLength / 4 }, (_, i) => i);
      for (let at = 0; at < values.length; at += pieceLength) yield values.slice(at, at + pieceLength);
    },
  };
}

Deno.test("tables have the other model's names and, of the positions, its number, wherever pieces end", async () => {
  const [tokens, positions] = ["transformer.tokens_embed.weight", "transformer.positions_embed.weight"];
  for (const pieceLength of [1, 4, 6, 15, 100]) {
    for (const rows of [1, 4, 5]) {
      const shapes = new Map([[tokens, { shape: [VOCAB, WIDTH] }], [positions, { shape: [rows, WIDTH] }]]);
      const tables = embeddingTables(source(5, pieceLength), { model_type: "openai-gpt" }, shapes);
      deepEqual([...tables.tensors].map(([name, { shape }]) => [name, shape]), [
        [tokens, [VOCAB, WIDTH]],
        [positions, [rows, WIDTH]],
      ]);
      for (const [name, { byteLength }] of tables.tensors) {
        const pieces = await Array.fromAsync(tables.piecesF32(name), (piece) => [...piece]);
        deepEqual(pieces.flat(), Array.from({ length: byteLength / 4 }, (_, i) => i));
      }
    }
  }
});

Deno.test("a model without learned positions takes the tokens alone", () => {
  equal(embeddingTables(source(5, 9), llama, tokensOnly).tensors.size, 1);
});

Deno.test("models of other types are refused by name, on either side", () => {
  const bert = { model_type: "bert" };
  const message = /model_type gpt2, openai-gpt, llama, got "bert"/;
  throws(() => embeddingTables(source(5, 9), bert, tokensOnly), { name: "RangeError", message });
  throws(() => embeddingTables({ ...source(5, 9), config: bert }, llama, tokensOnly), {
    name: "RangeError",
    message,
  });
});
