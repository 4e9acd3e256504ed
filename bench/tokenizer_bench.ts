/**
 * Text to token ids, ours beside Hugging Face's Rust library, with one `tokenizer.json` on the default corpus.
 *
 * @module
 */
import { readGutenberg } from "../data/corpus/gutenberg.ts";
import { trainBpe } from "../data/tokenizer/bpe_trainer.ts";
import { utf8Length } from "../data/tokenizer/byte_level.ts";
import { documentPieces } from "../data/tokenizer/pieces.ts";
import { formatTokenizerJson } from "../data/tokenizer/tokenizer_json.ts";
import { WordCounts } from "../data/tokenizer/word_counts.ts";
import { END_OF_TEXT } from "../files/hugging_face_names.ts";
import { huggingFaceTokenizers, koalaTokenizer } from "./implementations.ts";
import type { Ready } from "./protocol.ts";
import { race } from "./rounds.ts";
import type { Section } from "./section.ts";
import type { Heat } from "./table.ts";

const VOCABULARY = 2048;

/** Measures the tokenizer. */
export const tokenizerBench: Section = {
  name: "tokenizer",
  implementations: (python) => [
    koalaTokenizer,
    ...(python === undefined ? [] : [huggingFaceTokenizers(python)]),
  ],
  async measure(runners, { rounds, say }) {
    if (runners.length === 1) say("tokenizer: without Hugging Face's, which needs --python");
    // In pieces as when data is prepared.
    const texts = await Array.fromAsync(documentPieces(readGutenberg()), ({ text }) => text);
    const counts = new WordCounts();
    for (const text of texts) counts.add(text);
    const trained = await trainBpe(counts, { vocabSize: VOCABULARY, specialTokens: [END_OF_TEXT] });
    const tokenizer = formatTokenizerJson(trained);
    const work = texts.reduce((sum, text) => sum + utf8Length(text), 0);
    const check = sameIds();
    const heats: Heat[] = [];
    for (const cold of [true, false]) {
      const title = `tokenizer, the default corpus, vocabulary ${VOCABULARY}, one thread, ` +
        (cold ? "each time a new tokenizer" : "words that it has met");
      say(title);
      const what = { kind: "tokenizer" as const, tokenizer, texts, cold };
      const contestants = runners.map((runner) => ({ name: runner.name, runner, what, work, check }));
      const measured = await race(contestants, { rounds, seconds: 1 });
      heats.push({ title, rate: { unit: "MB/s", scale: 1e6 }, measured });
    }
    return heats;
  },
};

/** Makes a check that everyone has the ids of the first. */
export function sameIds(): (ready: Ready) => void {
  let expected: string | undefined;
  return ({ ids }) => {
    expected ??= ids;
    if (ids === undefined || ids !== expected) {
      throw new Error("wrong ids: they must be those of the first row");
    }
  };
}
