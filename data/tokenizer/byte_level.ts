/**
 * The byte-level alphabet and GPT-2's way of cutting text into words, shared by training and encoding.
 *
 * A byte-level vocabulary spells every byte as one printable character: bytes that print stand for
 * themselves, the others for the characters from U+0100 on, in order. So any text can be encoded, and the
 * number of bytes a token stands for is the number of its characters.
 *
 * @module
 */

/** `BYTE_TO_CHAR[b]` is the character that a byte-level vocabulary writes for the byte `b`. */
export const BYTE_TO_CHAR: readonly string[] = byteAlphabet();

/** The inverse of {@linkcode BYTE_TO_CHAR}. */
export const CHAR_TO_BYTE: ReadonlyMap<string, number> = new Map(BYTE_TO_CHAR.map((c, b) => [c, b]));

function byteAlphabet(): string[] {
  const printable = (b: number) => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xff && b !== 0xad);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(printable(b) ? b : next++));
}

/**
 * Makes GPT-2's word pattern: contractions, then letters, digits or other symbols with one optional space
 * before them, then white space (of which the last character is left to the word that follows).
 *
 * White space is Unicode's, as in Hugging Face's Rust library; JavaScript's `\s` differs from it in U+0085
 * and U+FEFF. The pattern is global and so has state: everyone who scans makes their own.
 */
export function wordPattern(): RegExp {
  return /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
}

const encoder = new TextEncoder();

/**
 * Spells a word's UTF-8 bytes in the byte-level alphabet.
 *
 * @param word Any text; lone surrogates become U+FFFD.
 */
export function toByteChars(word: string): string {
  let out = "";
  for (const byte of encoder.encode(word)) out += BYTE_TO_CHAR[byte];
  return out;
}

/**
 * Copies a string that shall be kept. A match of a pattern may be a view into the text it was found in, and
 * keeping the view keeps the whole text alive.
 *
 * @param text The string; returned as it is when it is too short to be a view.
 */
export function flatCopy(text: string): string {
  return text.length < 13 ? text : text.split("").join("");
}

/**
 * Finds the last place where a text can be cut so that both parts, tokenised on their own, give the tokens
 * of the whole: between a character that is not white space and white space.
 *
 * No alternative of the word pattern matches white space after something else, so a word always ends there.
 * The words before it are the same without what follows, since the pattern's only look-ahead concerns runs
 * of white space and the last such run is followed by a character that is still there; the words after it
 * are the same without what precedes, since the pattern never looks back.
 *
 * @param text The text.
 * @returns The index to cut at, or 0 when there is no such place.
 */
export function lastSafeCut(text: string): number {
  for (let i = text.length - 1; i > 0; i--) {
    if (isWhiteSpace(text.charCodeAt(i)) && !isWhiteSpace(text.charCodeAt(i - 1))) return i;
  }
  return 0;
}

/** Unicode's White_Space property; every such character is one UTF-16 unit. */
function isWhiteSpace(c: number): boolean {
  if (c < 0x85) return c === 0x20 || (c >= 0x09 && c <= 0x0d);
  return c === 0x85 || c === 0xa0 || c === 0x1680 || (c >= 0x2000 && c <= 0x200a) || c === 0x2028 ||
    c === 0x2029 || c === 0x202f || c === 0x205f || c === 0x3000;
}

/**
 * The number of bytes of a text in UTF-8, without encoding it.
 *
 * @param text Well-formed text (a lone surrogate counts 3, as U+FFFD).
 */
export function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x80) continue;
    if (c < 0x800) bytes += 1;
    else if (c >= 0xd800 && c < 0xdc00 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      // Four bytes for two units.
      bytes += 2;
      i++;
    } else bytes += 2;
  }
  return bytes;
}
