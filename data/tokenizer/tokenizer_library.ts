/**
 * Hugging Face's JavaScript library of tokenizers, with what it does otherwise than the Rust library, which
 * Python uses, replaced:
 *
 * - Unigram: among cuts of equal score the one is taken that Rust's order of additions prefers, and a text may
 *   be of any length, where the library's own fails from some hundred thousand tokens on.
 * - The `Metaspace` pre-tokenizer cuts words apart, unless it is told not to by `split: false`.
 * - The `Whitespace` pre-tokenizer takes letters of all scripts for letters.
 * - The `ByteFallback` decoder keeps U+FEFF, and makes one U+FFFD of each byte of a run that is not UTF-8.
 *
 * @module
 */

import { Tokenizer as Library } from "npm:@huggingface/tokenizers@0.2.0";
import type { TokenizerJson, TokenizerStep } from "./tokenizer_json.ts";

export type { Library };

/** What is used here of the library's Unigram model. */
interface UnigramModel {
  readonly tokens_to_ids: Map<string, number>;
  readonly scores: readonly number[];
  readonly unk_score: number;
  /** The tokens that begin at a place, shortest first. */
  readonly trie: { common_prefix_search(chars: readonly string[], start: number): Iterable<string> };
  encode(texts: string[]): string[];
}

/** A step of the library's, or several under one of two names. */
interface Step {
  readonly tokenizers?: readonly Step[];
  readonly decoders?: readonly Step[];
  pre_tokenize_text?(text: string, options?: unknown): string[];
  decode_chain?(tokens: string[]): string[];
}

/**
 * Makes the library's tokenizer.
 *
 * @param json A checked `tokenizer.json`.
 *
 * @throws {Error} When the library does not know one of its parts.
 */
export function openLibrary(json: TokenizerJson): Library {
  const library = new Library(json, { clean_up_tokenization_spaces: false });
  if (json.model.type === "Unigram") {
    const model = library.model as unknown as UnigramModel;
    model.encode = (texts) => texts.flatMap((text) => cutByScores(text, model));
  }
  eachStep(json.pre_tokenizer, library.pre_tokenizer, ({ type, split, replacement = "▁" }, step) => {
    if (type === "Whitespace") step.pre_tokenize_text = splitWords;
    if (type !== "Metaspace" || split === false) return;
    const mark = step.pre_tokenize_text!.bind(step);
    const wordStart = new RegExp(`(?=${RegExp.escape(String(replacement))})`, "u");
    step.pre_tokenize_text = (text, options) => mark(text, options).flatMap((t) => t.split(wordStart));
  });
  eachStep(json.decoder, library.decoder, ({ type }, step) => {
    if (type === "ByteFallback") step.decode_chain = joinBytes;
  });
  return library;
}

/**
 * The library's way of cutting words, where a pattern of the tokenizer's own is all that says how: a `Split`
 * step and then a plain `ByteLevel` one.
 *
 * @param json The `tokenizer.json`.
 * @param library What {@linkcode openLibrary} made of it.
 * @returns The function that cuts a text into words, still spelt in characters; null for any other tokenizer.
 */
export function splitStep(json: TokenizerJson, library: Library): ((text: string) => string[]) | null {
  if (json.pre_tokenizer?.type !== "Sequence") return null;
  const [split, bytes, ...more] = json.pre_tokenizer.pretokenizers as TokenizerStep[];
  const isolates = split?.type === "Split" && split.behavior === "Isolated" && split.invert !== true;
  const isPlain = bytes?.type === "ByteLevel" && bytes.add_prefix_space === false &&
    bytes.use_regex === false;
  if (!isolates || !isPlain || more.length > 0) return null;
  const step = (library.pre_tokenizer as unknown as Step).tokenizers![0];
  return (text) => step.pre_tokenize_text!(text);
}

/** Visits a step of the library's with its settings, or each step of a sequence. */
function eachStep(
  settings: TokenizerStep | null,
  step: unknown,
  visit: (settings: TokenizerStep, step: Step) => void,
): void {
  if (settings === null) return;
  if (settings.type !== "Sequence") return visit(settings, step as Step);
  const { tokenizers, decoders } = step as Step;
  const parts = (settings.pretokenizers ?? settings.decoders) as TokenizerStep[];
  parts.forEach((part, i) => eachStep(part, (tokenizers ?? decoders)![i], visit));
}

/**
 * Cuts a text into tokens so that the sum of their scores is the highest (Kudo 2018,
 * https://arxiv.org/abs/1804.10959). A character that is no token stands for itself, at the least score less
 * 10; of equal sums the one counts that is found first, from the left.
 */
function cutByScores(text: string, { tokens_to_ids, scores, unk_score, trie }: UnigramModel): string[] {
  const chars = Array.from(text);
  const best = new Float64Array(chars.length + 1);
  // Where the best cut's token begins that ends at a place.
  const starts = new Int32Array(chars.length + 1).fill(-1);
  const offer = (start: number, end: number, score: number) => {
    const sum = score + best[start];
    if (starts[end] >= 0 && sum <= best[end]) return;
    best[end] = sum;
    starts[end] = start;
  };
  for (let start = 0; start < chars.length; start++) {
    let single = false;
    for (const token of trie.common_prefix_search(chars, start)) {
      const length = characters(token);
      single ||= length === 1;
      offer(start, start + length, scores[tokens_to_ids.get(token)!]);
    }
    if (!single) offer(start, start + 1, unk_score);
  }
  const tokens: string[] = [];
  for (let end = chars.length; end > 0; end = starts[end]) {
    tokens.push(chars.slice(starts[end], end).join(""));
  }
  return tokens.reverse();
}

function characters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** Rust's `\w+|[^\w\s]+`. */
const WORDS =
  /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu;

function splitWords(text: string): string[] {
  return text.match(WORDS) ?? [];
}

/** Makes text of runs of tokens such as `<0xE2>`. */
function joinBytes(tokens: string[]): string[] {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const joined: string[] = [];
  let bytes: number[] = [];
  const end = () => {
    if (bytes.length === 0) return;
    try {
      joined.push(decoder.decode(Uint8Array.from(bytes)));
    } catch {
      joined.push("\ufffd".repeat(bytes.length));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const hex = /^<0x([0-9A-F]{2})>$/i.exec(token)?.[1];
    if (hex !== undefined) bytes.push(parseInt(hex, 16));
    else {
      end();
      joined.push(token);
    }
  }
  end();
  return joined;
}
