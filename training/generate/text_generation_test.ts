import { deepEqual, throws } from "node:assert/strict";
import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import { boundaryIds, promptIds } from "./text_generation.ts";

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
