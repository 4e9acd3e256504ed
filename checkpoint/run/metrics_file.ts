/**
 * `metrics.jsonl`: one line of JSON per logged step, appended while a run goes on and put right when it resumes.
 *
 * @module
 */

import { explained, writeAll, writeTextAtomically } from "../../files/atomic_file.ts";
import { jsonText, readText } from "../../files/json_file.ts";

/** One line of metrics. */
export interface MetricsRecord {
  /** The step that the metrics belong to. */
  readonly step: number;
  /** Anything else that JSON holds; numbers that are not finite are written as `null`. */
  readonly [key: string]: unknown;
}

/**
 * Opens a metrics file for appending.
 *
 * @param path The file; its folder must exist. Made if it does not exist.
 * @param resumedStep The step of the checkpoint from which the run goes on: lines of later steps, which are about
 * to be written again, are dropped; -1 drops all. Default: nothing is dropped.
 * @returns The open file; close it, or declare it with `using`. In any case a last line that a killed process
 * left torn is dropped.
 * @throws {SyntaxError} If a line other than the last is not a metrics record.
 * @throws {Error} If the file cannot be read or written, with what to do about it.
 */
export async function openMetricsFile(path: string, resumedStep = Infinity): Promise<MetricsFile> {
  const text = await readText(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  });
  const kept = keptLines(text, path, resumedStep);
  if (kept !== text) await writeTextAtomically(path, kept);
  const attempt = `Cannot write ${path}`;
  return new MetricsFile(
    path,
    await explained(attempt, () => Deno.open(path, { append: true, create: true })),
  );
}

/**
 * Reads a metrics file. A torn last line is ignored.
 *
 * @param path The file.
 * @returns Its records, in order.
 * @throws {SyntaxError} If a line other than the last is not a metrics record.
 * @throws {Deno.errors.NotFound} If there is no such file.
 * @throws {Error} If it cannot be read for another reason, with what to do about it.
 */
export async function readMetricsFile(path: string): Promise<MetricsRecord[]> {
  const lines = keptLines(await readText(path), path, Infinity).split("\n");
  return lines.slice(0, -1).map((line) => JSON.parse(line));
}

/** A metrics file open for appending. {@linkcode openMetricsFile} makes it. */
export class MetricsFile implements Disposable {
  readonly #file: Deno.FsFile;
  #closed = false;
  #queue: Promise<unknown> = Promise.resolve();

  /**
   * Takes over an open file; {@linkcode openMetricsFile} does it for you.
   *
   * @param path Where the file is.
   * @param file The file, open for appending; it belongs to this object from now on.
   */
  constructor(readonly path: string, file: Deno.FsFile) {
    this.#file = file;
  }

  /**
   * Appends a line. Lines keep the order of the calls, also when nobody waits for them.
   *
   * @param record The metrics.
   * @throws {TypeError} If a member is not representable in JSON (a `bigint`, for instance).
   * @throws {Error} If the line cannot be written, with what to do about it.
   */
  async append(record: MetricsRecord): Promise<void> {
    const finite = Object.entries(record).map(([key, value]) => [key, orNull(value)]);
    const line = new TextEncoder().encode(jsonText(Object.fromEntries(finite), 0) + "\n");
    const result = this.#queue.then(() => writeAll(this.#file, line, this.path));
    this.#queue = result.catch(() => {});
    await result;
  }

  /**
   * Waits until what was appended is on the disk. Call it before a checkpoint is written, so that no checkpoint
   * outlives the lines before it.
   *
   * @throws {Error} If the file cannot be written, with what to do about it.
   */
  async flush(): Promise<void> {
    await this.#queue;
    await explained(`Cannot write ${this.path}`, () => this.#file.sync());
  }

  /** Closes the file. Closing twice does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#file.close();
  }

  /** Closes the file at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** A diverged run's metrics are worth having too, and JSON has no NaN. */
function orNull(value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? null : value;
}

/** The text without the lines after a step and without a torn last line. */
function keptLines(text: string, path: string, lastStep: number): string {
  const lines = text.split("\n");
  let kept = "";
  for (const [index, line] of lines.entries()) {
    const isLast = index === lines.length - 1;
    if (isLast && line === "") break;
    const step = stepOf(line);
    if (step === null) {
      if (isLast) break;
      throw new SyntaxError(
        `Cannot read ${path}: line ${index + 1} must be a JSON object with a step, got ${
          JSON.stringify(line.slice(0, 60))
        }; remove the line`,
      );
    }
    if (step <= lastStep) kept += line + "\n";
  }
  return kept;
}

function stepOf(line: string): number | null {
  try {
    const step = JSON.parse(line)?.step;
    return Number.isSafeInteger(step) ? step : null;
  } catch {
    return null;
  }
}
