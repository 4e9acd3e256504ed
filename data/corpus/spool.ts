/**
 * A copy on disk of documents that can be read only once, such as those of standard input: a corpus is read
 * several times before training, and resuming a run reads it again.
 *
 * @module
 */

import { explained, writeAll } from "../../files/atomic_file.ts";
import { openNamelessFile } from "../../files/nameless_file.ts";
import type { Corpus, Document } from "../document.ts";

/** A corpus that can be read repeatedly; dispose of it when done. */
export type ReplayableCorpus = Corpus & AsyncDisposable;

/**
 * Makes sure that a corpus can be read repeatedly.
 *
 * @param corpus The documents. One whose `replayable` is false is copied, as UTF-8, which needs as much room
 * on the disk as the text; at most one part of a document is in memory.
 * @param folder Where the copy goes. It has no name there while it is used, so it is gone when the process
 * ends, however it ends (on Windows it has one until it is disposed of).
 * @returns The corpus.
 * @throws {Error} The error of the corpus, or that of the file system, such as a full disk, with what to do.
 */
export async function spoolCorpus(
  corpus: Corpus & { readonly replayable?: boolean },
  folder: string,
): Promise<ReplayableCorpus> {
  if (corpus.replayable !== false) {
    return Object.assign(iterableOf(() => documentsOf(corpus)), { [Symbol.asyncDispose]: async () => {} });
  }
  const nameless = await openNamelessFile(folder);
  const { file, path } = nameless;
  const close = () => Promise.resolve(nameless[Symbol.dispose]());
  try {
    const size = await copy(corpus, file, path);
    return Object.assign(iterableOf(() => readBack(file, size, path)), { [Symbol.asyncDispose]: close });
  } catch (error) {
    await close();
    throw error;
  }
}

function iterableOf(start: () => AsyncGenerator<Document>): AsyncIterable<Document> {
  return { [Symbol.asyncIterator]: start };
}

async function* documentsOf(corpus: Corpus): AsyncGenerator<Document> {
  yield* corpus;
}

/** Writes documents, each as the lengths of its description and its text in bytes, and both. */
async function copy(corpus: Corpus, file: Deno.FsFile, path: string): Promise<number> {
  const encoder = new TextEncoder();
  let size = 0;
  for await (const { text, ...description } of corpus) {
    const parts = [encoder.encode(JSON.stringify(description)), encoder.encode(text)];
    const lengths = new Uint8Array(Uint32Array.from(parts, ({ length }) => length).buffer);
    for (const bytes of [lengths, ...parts]) {
      await writeAll(file, bytes, path);
      size += bytes.length;
    }
  }
  return size;
}

/** Reads them again. Every reading has a place of its own in the file. */
async function* readBack(file: Deno.FsFile, size: number, path: string): AsyncGenerator<Document> {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let place = 0;
  const take = async (length: number) => {
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      await file.seek(place + filled, Deno.SeekMode.Start);
      const count = await explained(`Cannot read ${path}`, () => file.read(bytes.subarray(filled)));
      if (count === null) throw new RangeError(`${path} must stay as it was written, but became shorter`);
      filled += count;
    }
    place += length;
    return bytes;
  };
  while (place < size) {
    const [description, text] = new Uint32Array((await take(8)).buffer);
    const rest = JSON.parse(decoder.decode(await take(description)));
    yield { ...rest, text: decoder.decode(await take(text)) };
  }
}
