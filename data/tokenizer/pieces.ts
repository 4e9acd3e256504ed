/**
 * Documents in pieces that can be tokenised, or their words counted, one after another.
 *
 * @module
 */

import { lastSafeCut } from "./byte_level.ts";
import type { Corpus, Document } from "../document.ts";
import { characterCut, PART_LENGTH } from "../formats/text_parts.ts";

/** A piece of a document. */
export interface DocumentPiece {
  /** The text; never empty. */
  readonly text: string;
  /** The document, or its part in which the piece ends. */
  readonly document: Document;
  /** Whether the document begins with it. */
  readonly first: boolean;
}

/**
 * Divides documents into pieces, of which two or three are in memory at a time however long a document is.
 * A piece ends where {@linkcode lastSafeCut} allows, so a byte-level tokenizer gives the tokens of the whole
 * document; only a stretch of 8 Mi UTF-16 units without such a place is cut anywhere.
 *
 * @param corpus The documents; parts of one are joined again.
 * @param length How long a piece is, in UTF-16 units, at most or little more; 65,536 by default.
 */
export async function* documentPieces(corpus: Corpus, length = 65536): AsyncGenerator<DocumentPiece> {
  let held = "";
  let last: Document | undefined;
  let first = true;
  for await (const document of corpus) {
    if (document.part === 0) {
      if (held !== "") yield { text: held, document: last!, first };
      [held, first] = ["", true];
    }
    last = document;
    held += document.text;
    for (let wanted = length; held.length > wanted;) {
      const cut = lastSafeCut(held.slice(0, wanted)) ||
        (wanted >= PART_LENGTH ? characterCut(held, wanted) : 0);
      if (cut === 0) {
        wanted *= 2;
        continue;
      }
      yield { text: held.slice(0, cut), document, first };
      [held, first, wanted] = [held.slice(cut), false, length];
    }
  }
  if (held !== "") yield { text: held, document: last!, first };
}
