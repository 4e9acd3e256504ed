/**
 * What reading a corpus of addresses told, kept in the cache beside the versions that were read: as long as the
 * servers have these, the corpus need not be read again to know its digest, by which tokenizers and token ids
 * are found, and so need not be downloaded again.
 *
 * @module
 */

import { join } from "node:path";
import { readJsonFile, writeJsonFile } from "../../files/json_file.ts";
import { ConnectionError } from "../../hub/retry.ts";
import type { HttpVersion, RemoteText } from "../bytes/http_version.ts";
import type { SourceCorpus } from "../corpus/corpus.ts";
import type { CorpusScan } from "../corpus/split.ts";
import { cacheKey } from "./cache.ts";

/** Changes when other documents are made of the same bytes, so that old records are no longer found. */
const READING = 1;
/** How many servers are asked at a time. */
const ASKED_AT_ONCE = 8;

/** What one pass over a corpus told. */
export interface CorpusPass {
  /** Its digest, size and split. */
  readonly scan: CorpusScan;
  /** What there was to say of it, in lines for people. */
  readonly said: readonly string[];
}

/** What is known of a corpus. */
export interface KnownPass extends CorpusPass {
  /** Why it could not be asked whether the corpus is still the same, and of when the record is. */
  readonly unchecked?: { readonly error: ConnectionError; readonly made: string };
}

/** A file in the cache. */
interface CorpusRecord extends CorpusPass {
  /** When the corpus was read, as in ISO 8601. */
  readonly made: string;
  /** Its texts in the order of reading, with the versions of those that were read. */
  readonly texts: readonly { readonly key: string; readonly version: HttpVersion | null }[];
}

/** What decides what a pass tells, and where that is kept. */
export interface RecordOptions {
  /** The sources, as `openCorpus` took them. */
  readonly sources: readonly string[];
  /** The field that holds the text, as `openCorpus` took it. */
  readonly textField?: string;
  /** The encoding, as `openCorpus` took it. */
  readonly encoding?: string;
  /** The share of the text to set aside for validation. */
  readonly validationFraction: number;
  /** The folder in which records are kept. */
  readonly cacheDir: string;
  /** Whether a record counts when there is no answer from a server. Default: false. */
  readonly offline?: boolean;
}

/**
 * Tells what a pass over a corpus of addresses tells, by a record if the servers have what that is of.
 *
 * @param corpus The corpus, which must be remote as a whole.
 * @param read Makes the pass, where there is no such record.
 * @param options What decides what it tells.
 * @throws {ConnectionError} When there is no answer from a server, unless that may be.
 */
export async function recallPass(
  corpus: SourceCorpus,
  read: () => Promise<CorpusPass>,
  options: RecordOptions,
): Promise<KnownPass> {
  const { sources, textField, encoding, validationFraction, cacheDir, offline = false } = options;
  const inputs = {
    READING,
    sources: sources.map(withoutCredentials),
    textField,
    encoding,
    validationFraction,
  };
  const path = join(cacheDir, `${cacheKey("corpus", inputs)}.json`);
  const record = await readRecord(path);
  if (record !== undefined) {
    try {
      if (await isCurrent(record, await corpus.remoteTexts())) return record;
    } catch (error) {
      if (!(offline && error instanceof ConnectionError)) throw error;
      return { ...record, unchecked: { error, made: record.made } };
    }
  }
  const pass = await read();
  const texts = (await corpus.remoteTexts()).map(({ key, version }) => ({ key, version: version ?? null }));
  await Deno.mkdir(cacheDir, { recursive: true });
  const made: CorpusRecord = { made: new Date().toISOString(), ...pass, texts };
  await writeJsonFile(path, made);
  return pass;
}

function withoutCredentials(source: string): string {
  return source.replace(/^(https?:\/\/)[^/@]*@/i, "$1");
}

async function readRecord(path: string): Promise<CorpusRecord | undefined> {
  try {
    const record = await readJsonFile(path) as unknown as CorpusRecord;
    const isWhole = typeof record.scan?.digest === "string" &&
      [record.said, record.texts].every(Array.isArray);
    return isWhole ? record : undefined;
  } catch (error) {
    // A missing and a damaged file mean the same: make it again.
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whether the same texts are there, and those that were read are what they were. */
async function isCurrent({ texts }: CorpusRecord, now: readonly RemoteText[]): Promise<boolean> {
  if (texts.length !== now.length || texts.some(({ key }, i) => key !== now[i].key)) return false;
  const asked = texts.flatMap(({ version }, i) => version === null ? [] : { version, text: now[i] });
  for (let start = 0; start < asked.length; start += ASKED_AT_ONCE) {
    const some = asked.slice(start, start + ASKED_AT_ONCE);
    const answers = await Promise.all(some.map(({ text, version }) => text.isCurrent(version)));
    if (answers.includes(false)) return false;
  }
  return true;
}
