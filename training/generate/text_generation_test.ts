import { deepEqual, equal, notEqual, ok, rejects, throws } from "node:assert/strict";
import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import { trainOrLoadTokenizer } from "../../data/tokens/dataset.ts";
import { llama } from "../../models/llama.ts";
import { testGpu } from "../../tests/check_op.ts";
import { declareParameters } from "../run/load_weights.ts";
import { Generator } from "./generation.ts";
import { boundaryIds, generateTexts, promptIds, sampleText, type TextRequest } from "./text_generation.ts";

const tokenizer = (eosId: number | null, ids: number[] = [], startIds: number[] = []) =>
  ({ eosId, startIds, encode: () => ids }) as unknown as Tokenizer;

Deno.test("boundaryIds() asks generation_config.json, config.json and the tokenizer in this order", () => {
  const of = (
    generationConfig: Record<string, unknown> | null,
    config: Record<string, unknown>,
    eos: number | null,
  ) => boundaryIds({ generationConfig, config }, tokenizer(eos));
  deepEqual(of({ eos_token_id: [7, 8], bos_token_id: 3 }, { eos_token_id: 1 }, 0), {
    startId: 3,
    stopIds: [7, 8],
  });
  deepEqual(of({ eos_token_id: null }, { eos_token_id: 1, bos_token_id: 2 }, 0), {
    startId: 2,
    stopIds: [1],
  });
  deepEqual(of(null, {}, 0), { startId: 0, stopIds: [0] });
  deepEqual(of(null, { bos_token_id: null }, null), { startId: undefined, stopIds: [] });
});

Deno.test("promptIds() takes the start token for a prompt without tokens, where there is one", () => {
  deepEqual(promptIds(tokenizer(null, [5, 6]), "text", 1), [5, 6]);
  deepEqual(promptIds(tokenizer(null), "", 1), [1]);
  deepEqual(promptIds(tokenizer(null, [5], [2]), "text", 1), [2, 5]);
  throws(() => promptIds(tokenizer(null), ""), RangeError);
});

Deno.test("sampleText() needs memory for its own text alone, stops at end tokens and begins without a prompt", async () => {
  const own = await testGpu();
  const gpu = { ...own, profile: { ...own.profile, maxBindingBytes: 65_536 } };
  const text = "the sun rose over a quiet sea and seven old men spoke of rain while their boats lay still";
  const sources = [{ name: "sea", text, part: 0 }];
  const tokenizer = await trainOrLoadTokenizer({ sources, vocabSize: 290, validationFraction: 0 });
  // Large weights, so that the text depends on what came before.
  const model = llama({
    vocab_size: tokenizer.vocabSize,
    max_position_embeddings: 4096,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    initializer_range: 0.5,
  });
  const parameters = declareParameters(model, gpu.profile);
  await parameters.allocate(gpu, 4);
  // A cache for all that the model could read takes four times what fits.
  await rejects(Generator.create(gpu, model, parameters), RangeError);
  const sample = (prompt: string, options: Partial<TextRequest> = {}) =>
    sampleText(gpu, model, parameters, tokenizer, { prompt, maxTokens: 24, seed: 3, ...options });

  const prompt = tokenizer.encode("the sea");
  const generator = await Generator.create(gpu, model, parameters, { contextLength: 100 });
  const ids = await generator.generate(prompt, { maxTokens: 24, seed: 3 });
  const decode = (ids: number[]) => tokenizer.decode(ids, { skipSpecialTokens: true });
  equal(await sample("the sea"), decode([...prompt, ...ids]));
  const end = ids.findIndex((id, i) => i >= 5 && ids.indexOf(id) === i);
  equal(await sample("the sea", { stopIds: [ids[end]] }), decode([...prompt, ...ids.slice(0, end)]));
  const begun = await generator.generate([tokenizer.eosId!], { maxTokens: 24, seed: 3 });
  equal(await sample("", { startId: tokenizer.eosId! }), decode(begun));
  notEqual(decode(begun), "");
  const stop = new AbortController();
  const [cut] = await generateTexts(generator, tokenizer, [
    { prompt: "the sea", maxTokens: 24, seed: 3, signal: stop.signal, onText: () => stop.abort() },
  ]);
  deepEqual([cut.ended, cut.ids], ["aborted", ids.slice(0, cut.ids.length)]);
  ok(cut.ids.length < 24);
  await rejects(sample(""), { name: "RangeError", message: /at least one token/ });
  generator.destroy();
  parameters.destroy();
});
