/**
 * Text to token ids and back, by Hugging Face's JavaScript library on a `tokenizer.json` that is checked
 * first (the library accepts broken ones without a word).
 *
 * @module
 */

import { END_OF_TEXT } from "../../files/hugging_face_names.ts";
import { CHAR_TO_BYTE, flatCopy, toByteChars, utf8Length, wordPattern } from "./byte_level.ts";
import {
  checkTokenizerJson,
  type TokenizerJson,
  type TokenizerStep,
  type TokenTable,
} from "./tokenizer_json.ts";
import { type Library, openLibrary, splitStep } from "./tokenizer_library.ts";

/** How texts end in the vocabularies of common models, the likeliest first. */
const END_TOKENS = [END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>", "<|eos|>", "[EOS]", "<|im_end|>"];

/** How many words the cache holds before it starts anew, and up to which length it holds them. */
const CACHE_WORDS = 1 << 17;
const CACHE_LENGTH = 64;

/**
 * A tokenizer.
 *
 * For byte-level BPE, words that were met before come from a cache, and the library tokenises each new word.
 * That is several times faster than giving it whole texts. Words are cut here for GPT-2's kind (so is what
 * {@linkcode trainBpe} makes), in agreement with Hugging Face's Rust library also on U+0085 and U+FEFF, and by
 * the library where a pattern of its own says how, as Llama 3 has one. Every other kind goes to the library
 * whole.
 */
export class Tokenizer {
  /** The `tokenizer.json`, to be saved with a model. */
  readonly json: TokenizerJson;
  /** The number of rows an embedding needs: the highest id plus one. */
  readonly vocabSize: number;
  /** The id of the token that ends a text, such as `<|endoftext|>` or `</s>`; null when there is none. */
  readonly eosId: number | null;
  /**
   * What Hugging Face's libraries put before every text, such as Llama's `<|begin_of_text|>`; mostly nothing.
   * {@linkcode Tokenizer.encode} does not.
   */
  readonly startIds: readonly number[];
  /**
   * How many bytes of text each id stands for: exact for byte-level vocabularies, with 0 for special tokens
   * and unused ids. Elsewhere it is the length of the token's text, a leading `▁` counting as a space.
   */
  readonly byteLengths: Uint32Array;
  /**
   * Whether texts may be tokenised in pieces, cut where white space follows something else, with the same
   * result: so for byte-level BPE with GPT-2's words.
   */
  readonly takesPieces: boolean;

  readonly #library: Library;
  readonly #tokens: TokenTable;
  readonly #special: ReadonlySet<number>;
  readonly #known: ReadonlySet<number>;
  /** Cuts a text into words that are tokenised one by one; null where the library must have it whole. */
  readonly #cutWords: ((text: string) => string[]) | null;
  readonly #addedPattern: RegExp | null;
  readonly #cache = new Map<string, readonly number[]>();

  private constructor(tokenizer: TokenizerJson, tokens: TokenTable) {
    try {
      this.#library = openLibrary(tokenizer);
    } catch (cause) {
      throw new SyntaxError(
        `Cannot use this tokenizer.json: the tokenizers library must know all its parts, got "${
          (cause as Error).message
        }"`,
        { cause },
      );
    }
    this.json = tokenizer;
    this.#tokens = tokens;
    this.#known = new Set(tokens.values());
    this.#special = new Set(tokenizer.added_tokens.filter((t) => t.special).map((t) => t.id));
    this.vocabSize = 1 + [...tokens.values()].reduce((a, b) => Math.max(a, b), 0);
    const end = END_TOKENS.find((content) => tokenizer.added_tokens.some((t) => t.content === content));
    this.eosId = end === undefined ? null : tokens.get(end)!;
    this.startIds = templateStart(tokenizer.post_processor).flatMap((token) => tokens.get(token) ?? []);
    this.byteLengths = this.#measureTokens();
    const byWords = mergesBytes(tokenizer, tokens);
    this.takesPieces = byWords && cutsLikeGpt2(tokenizer.pre_tokenizer);
    const pattern = wordPattern();
    const cut = this.takesPieces
      ? (text: string) => text.match(pattern) ?? []
      : splitStep(tokenizer, this.#library);
    this.#cutWords = byWords ? cut : null;
    // Of added tokens that start at the same place the longest is meant.
    const added = tokenizer.added_tokens.map((t) => t.content).sort((a, b) => b.length - a.length);
    this.#addedPattern = added.length === 0
      ? null
      : new RegExp(added.map((c) => c.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"), "g");
  }

  /**
   * Makes a tokenizer of a parsed `tokenizer.json`.
   *
   * @param json What the file holds, parsed.
   *
   * @throws {SyntaxError} When it is not a whole and consistent tokenizer, saying what is wrong.
   */
  static fromJson(json: unknown): Tokenizer {
    const { tokenizer, tokens } = checkTokenizerJson(json);
    return new Tokenizer(tokenizer, tokens);
  }

  /**
   * The token ids of a text. Special tokens are recognised in it and none is added.
   *
   * @param text The text.
   *
   * @throws {RangeError} When the vocabulary has no token for a part of the text.
   */
  encode(text: string): number[] {
    const ids: number[] = [];
    if (this.#cutWords === null) {
      if (text.length > 0) {
        this.#push(ids, this.#library.encode(text, { add_special_tokens: false }).ids, text);
      }
      return ids;
    }
    let start = 0;
    for (const match of this.#addedPattern === null ? [] : text.matchAll(this.#addedPattern)) {
      this.#encodeWords(this.#cutWords(text.slice(start, match.index)), ids);
      ids.push(this.#tokens.get(match[0])!);
      start = match.index + match[0].length;
    }
    this.#encodeWords(this.#cutWords(start === 0 ? text : text.slice(start)), ids);
    return ids;
  }

  /**
   * The text of token ids. Bytes that are not UTF-8 become U+FFFD, and ids that no token has are left out.
   *
   * @param ids The ids.
   * @param options Whether to leave special tokens out: `skipSpecialTokens`, false by default.
   *
   * @throws {RangeError} When an id is not an integer from 0 to below `vocabSize`.
   */
  decode(ids: Iterable<number>, options: { skipSpecialTokens?: boolean } = {}): string {
    const kept: number[] = [];
    for (const id of ids) {
      if (!Number.isInteger(id) || id < 0 || id >= this.vocabSize) {
        throw new RangeError(`A token id must be an integer from 0 to ${this.vocabSize - 1}: got ${id}`);
      }
      const skipped = options.skipSpecialTokens === true && this.#special.has(id);
      if (this.#known.has(id) && !skipped) kept.push(id);
    }
    return kept.length === 0 ? "" : this.#library.decode(kept, { skip_special_tokens: false });
  }

  #encodeWords(words: readonly string[], ids: number[]): void {
    for (const word of words) {
      const known = this.#cache.get(word);
      if (known !== undefined) {
        for (const id of known) ids.push(id);
        continue;
      }
      const tokens = this.#library.model!.encode([toByteChars(word)]);
      const found = tokens.map((token) => this.#tokens.get(token)!);
      for (const id of found) ids.push(id);
      if (word.length > CACHE_LENGTH) continue;
      if (this.#cache.size >= CACHE_WORDS) this.#cache.clear();
      this.#cache.set(flatCopy(word), found);
    }
  }

  #push(ids: number[], found: readonly (number | undefined)[], text: string): void {
    for (const id of found) {
      if (id === undefined) {
        throw new RangeError(
          `The vocabulary must have a token for all of the text or an unknown token: it has neither for a part of ${
            JSON.stringify(text.slice(0, 40))
          }`,
        );
      }
      ids.push(id);
    }
  }

  #measureTokens(): Uint32Array {
    const lengths = new Uint32Array(this.vocabSize);
    const byteLevel = usesByteLevel(this.json);
    const added = new Set(this.json.added_tokens.map((t) => t.id));
    const suffix = String(this.json.model.end_of_word_suffix ?? "");
    for (const [token, id] of this.#tokens) {
      if (this.#special.has(id)) continue;
      if (byteLevel && !added.has(id)) lengths[id] = token.length;
      else if (/^<0x[0-9A-F]{2}>$/.test(token)) lengths[id] = 1;
      // A word ends with a space.
      else if (suffix && token.endsWith(suffix)) lengths[id] = utf8Length(token.slice(0, -suffix.length)) + 1;
      else lengths[id] = utf8Length(token.replaceAll("▁", " "));
    }
    return lengths;
  }
}

/** Whether tokens are spelt in the byte-level alphabet. */
function usesByteLevel({ decoder }: TokenizerJson): boolean {
  const steps = decoder?.type === "Sequence" ? decoder.decoders : [decoder];
  return Array.isArray(steps) && steps.some((step) => step?.type === "ByteLevel");
}

/** The special tokens that a template puts before a text. */
function templateStart(step: TokenizerStep | null): string[] {
  if (step?.type === "Sequence" && Array.isArray(step.processors)) {
    return step.processors.flatMap(templateStart);
  }
  if (step?.type !== "TemplateProcessing" || !Array.isArray(step.single)) return [];
  const text = step.single.findIndex((piece) => piece?.Sequence !== undefined);
  return step.single.slice(0, Math.max(0, text)).map((piece) => String(piece?.SpecialToken?.id));
}

/** Whether a tokenizer, once words are cut, does nothing else than to merge their bytes. */
function mergesBytes(
  { normalizer, post_processor: after, model, added_tokens: added }: TokenizerJson,
  tokens: TokenTable,
): boolean {
  return normalizer === null && addsOnlyTokens(after) &&
    model.type === "BPE" && !model.byte_fallback && !model.continuing_subword_prefix &&
    !model.continuing_subword_suffix && !model.end_of_word_suffix && !model.dropout &&
    [...CHAR_TO_BYTE.keys()].every((char) => tokens.has(char)) &&
    added.every((t) => !t.lstrip && !t.rstrip && !/\p{White_Space}/u.test(t.content));
}

/** Whether a post-processor at most puts special tokens around a text. */
function addsOnlyTokens(step: TokenizerStep | null): boolean {
  if (step?.type === "Sequence" && Array.isArray(step.processors)) {
    return step.processors.every(addsOnlyTokens);
  }
  return step === null || step.type === "ByteLevel" || step.type === "TemplateProcessing";
}

function cutsLikeGpt2(step: TokenizerStep | null): boolean {
  return step?.type === "ByteLevel" && step.add_prefix_space === false && step.use_regex !== false;
}
