/**
 * Addresses as they may be recorded and shown.
 *
 * @module
 */

/** What may follow an address in a text: the weight of a source, and punctuation. */
const END = /(?::(?:\d+(?:\.\d*)?|\.\d+))?["'`)\]}>,.;:]*$/;

/**
 * Takes user names, passwords, queries and fragments out of the http and https addresses in a text: in these,
 * access tokens and signatures stand. Whatever is recorded, printed or thrown has been through this.
 *
 * @param text A source, with a weight or without, or a message with addresses in it.
 * @returns The text with shorter addresses; a text without any stays as it is.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(withoutSecrets("https://me:pass@example.org/a.txt?token=hf_x:0.5"), "https://example.org/a.txt:0.5");
 * equal(withoutSecrets("texts/a.txt"), "texts/a.txt");
 * ```
 */
export function withoutSecrets(text: string): string {
  return text.replace(/https?:\/\/\S+/gi, (address) => {
    // Of what is no address a password may have any character.
    const isValid = URL.canParse(address.replace(END, ""));
    const bare = address.replace(isValid ? /\/\/[^/?#]*@/ : /\/\/.*@/, "//");
    const cut = bare.search(/[?#]/);
    return cut < 0 ? bare : bare.slice(0, cut) + END.exec(bare.slice(cut))![0];
  });
}
