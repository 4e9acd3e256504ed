/**
 * Reads tokenizers from files.
 *
 * @module
 */

import { Tokenizer } from "./tokenizer.ts";

/**
 * Reads a `tokenizer.json`.
 *
 * @param path The file.
 *
 * @throws {Deno.errors.NotFound} When there is no such file.
 * @throws {SyntaxError} When it is not JSON, or not a whole and consistent tokenizer; the message names the
 * file.
 */
export async function loadTokenizer(path: string): Promise<Tokenizer> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Deno.errors.NotFound(`A tokenizer must exist: there is no file "${path}"; check the path`, {
      cause,
    });
  }
  try {
    return Tokenizer.fromJson(JSON.parse(text));
  } catch (cause) {
    throw new SyntaxError(`Cannot read "${path}" as a tokenizer: ${(cause as Error).message}`, { cause });
  }
}
