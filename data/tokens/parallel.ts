/**
 * Tokenising in Web Workers, with the results of one thread: every text is tokenised on its own, and what
 * comes out has the order of what went in.
 *
 * @module
 */

import { type EncodedTexts, encodeTexts } from "./encode_texts.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { WorkerAnswer } from "./worker.ts";

/** Texts are sent to a worker when together they are this long, in UTF-16 units. */
const JOB_LENGTH = 1 << 16;
/** How many jobs may wait for each worker, so that none is idle and memory stays bounded. */
const JOBS_PER_WORKER = 3;

const WORKER = new URL("./worker.ts", import.meta.url);

/** Someone who tokenises. */
interface Encoder {
  /** Jobs that are not answered yet. */
  readonly waiting: number;
  encode(texts: readonly string[]): Promise<EncodedTexts>;
}

/** Threads that tokenise. End them by `close`, or declare them with `using`. */
export interface Tokenizers extends Disposable {
  /** How many workers there are; 0 when the calling thread does the work. */
  readonly workers: number;
  /**
   * Tokenises the texts of items.
   *
   * @param items The items, read only as far ahead as keeps the workers busy.
   * @returns For every item its tokens, in the same order.
   * @throws {RangeError} When the vocabulary has no token for a part of a text.
   */
  encode<Item extends { readonly text: string }>(
    items: AsyncIterable<Item>,
  ): AsyncGenerator<EncodedItem<Item>>;
}

/** An item with its tokens. */
export interface EncodedItem<Item> {
  /** The item. */
  readonly item: Item;
  /** The ids of its text. */
  readonly ids: EncodedTexts["ids"];
  /** The length of its text in UTF-8. */
  readonly bytes: number;
}

/**
 * Starts workers that tokenise.
 *
 * @param tokenizer The tokenizer.
 * @param workers How many; 0 for none, which leaves the work to the calling thread. By default one for every
 * core. Where workers cannot be started, for want of the permission to read their module, the calling thread
 * does the work.
 */
export async function startTokenizers(
  tokenizer: Tokenizer,
  workers: number = navigator.hardwareConcurrency,
): Promise<Tokenizers> {
  const started = Array.from({ length: mayStart() ? workers : 0 }, () => new TokenizeWorker());
  const ready = await Promise.all(started.map((worker) => worker.start(tokenizer)));
  const close = () => started.forEach((worker) => worker.close());
  if (ready.includes(false)) {
    close();
    started.length = 0;
  }
  const here: Encoder = { waiting: 0, encode: (texts) => Promise.resolve(encodeTexts(tokenizer, texts)) };
  const encoders: readonly Encoder[] = started.length > 0 ? started : [here];
  return {
    workers: started.length,
    encode: (items) => encodeInOrder(items, encoders),
    [Symbol.dispose]: close,
  };
}

/** Whether the worker's module may be read: asked before, since Deno prints what a worker fails with. */
function mayStart(): boolean {
  if (WORKER.protocol !== "file:") return true;
  return Deno.permissions.querySync({ name: "read", path: WORKER }).state === "granted";
}

async function* encodeInOrder<Item extends { readonly text: string }>(
  items: AsyncIterable<Item>,
  encoders: readonly Encoder[],
): AsyncGenerator<EncodedItem<Item>> {
  const jobs: { readonly items: Item[]; readonly encoded: Promise<EncodedTexts> }[] = [];
  const limit = encoders.length === 1 ? 1 : JOBS_PER_WORKER * encoders.length;
  let gathered: Item[] = [];
  let length = 0;
  const send = () => {
    const encoder = encoders.reduce((a, b) => b.waiting < a.waiting ? b : a);
    const encoded = encoder.encode(gathered.map(({ text }) => text));
    encoded.catch(() => {}); // thrown where it is awaited
    jobs.push({ items: gathered, encoded });
    [gathered, length] = [[], 0];
  };
  for await (const item of items) {
    gathered.push(item);
    length += item.text.length;
    if (length < JOB_LENGTH) continue;
    send();
    if (jobs.length >= limit) yield* results(jobs.shift()!);
  }
  if (gathered.length > 0) send();
  for (const job of jobs) yield* results(job);
}

async function* results<Item>(
  job: { readonly items: readonly Item[]; readonly encoded: Promise<EncodedTexts> },
): AsyncGenerator<EncodedItem<Item>> {
  const { ids, counts, bytes } = await job.encoded;
  let start = 0;
  for (const [i, item] of job.items.entries()) {
    yield { item, ids: ids.subarray(start, start += counts[i]), bytes: bytes[i] };
  }
}

/** One worker. It answers in the order of the requests. */
class TokenizeWorker implements Encoder {
  readonly #worker: Worker;
  readonly #waiting: PromiseWithResolvers<WorkerAnswer>[] = [];

  constructor() {
    this.#worker = new Worker(WORKER, { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<WorkerAnswer>) => this.#waiting.shift()?.resolve(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const error = new Error(`A worker that tokenises must keep running: it ended with "${event.message}"`);
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    };
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  #ask(message: unknown): Promise<WorkerAnswer> {
    const answer = Promise.withResolvers<WorkerAnswer>();
    this.#waiting.push(answer);
    this.#worker.postMessage(message);
    return answer.promise;
  }

  /** Tells it the tokenizer; false when it cannot run here. */
  async start({ json }: Tokenizer): Promise<boolean> {
    return await this.#ask({ tokenizer: json }).then((answer) => "ready" in answer, () => false);
  }

  async encode(texts: readonly string[]): Promise<EncodedTexts> {
    const answer = await this.#ask({ texts });
    if ("encoded" in answer) return answer.encoded;
    throw "error" in answer ? answer.error : new Error("A worker must answer with tokens");
  }

  close(): void {
    this.#worker.terminate();
  }
}
