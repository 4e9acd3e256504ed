/**
 * The child process that measures koala-lm's tokenizer.
 *
 * @module
 */
import { encodeTexts } from "../../data/tokens/encode_texts.ts";
import { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import { digestOfIds } from "../inputs.ts";
import type { Case } from "../protocol.ts";
import { type Prepared, serve } from "../serve.ts";

await serve("one thread", async (what: Case): Promise<Prepared> => {
  if (what.kind !== "tokenizer") throw new Error(`a tokenizer's process can measure no ${what.kind}`);
  const json = JSON.parse(what.tokenizer);
  let tokenizer = Tokenizer.fromJson(json);
  const began = performance.now();
  const { ids } = encodeTexts(tokenizer, what.texts);
  const first = (performance.now() - began) / 1e3;
  return {
    ready: { first, ids: await digestOfIds(ids) },
    run: (count) => {
      for (let i = 0; i < count; i++) {
        if (what.cold) tokenizer = Tokenizer.fromJson(json);
        encodeTexts(tokenizer, what.texts);
      }
      return Promise.resolve();
    },
  };
});
