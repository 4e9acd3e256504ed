/**
 * The worker of {@linkcode startTokenizers}: is told a tokenizer first, then tokenises texts for as long as it
 * lives.
 *
 * @module
 */

import { type EncodedTexts, encodeTexts } from "./encode_texts.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";

/** What the worker is told: the tokenizer's JSON first, afterwards texts. */
export type WorkerRequest = { readonly tokenizer: unknown } | { readonly texts: readonly string[] };

/** What it answers, in the order of the requests: that it is ready, then tokens or what went wrong. */
export type WorkerAnswer =
  | { readonly ready: true }
  | { readonly encoded: EncodedTexts }
  | { readonly error: unknown };

/** This module's global scope, as far as it is used here. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<WorkerRequest>) => void) | null;
  postMessage(message: WorkerAnswer, transfer?: Transferable[]): void;
}

const scope = globalThis as unknown as WorkerScope;
let tokenizer: Tokenizer;

scope.onmessage = ({ data }) => {
  try {
    if ("tokenizer" in data) {
      tokenizer = Tokenizer.fromJson(data.tokenizer);
      scope.postMessage({ ready: true });
    } else {
      const encoded = encodeTexts(tokenizer, data.texts);
      scope.postMessage({ encoded }, [encoded.ids.buffer]);
    }
  } catch (error) {
    scope.postMessage({ error });
  }
};
