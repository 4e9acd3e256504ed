/**
 * The bench's side of a child process.
 *
 * @module
 */
import type { Answer, Question } from "./protocol.ts";

/** How to start a process. */
export interface Command {
  /** The program. */
  readonly program: string;
  /** Its arguments. */
  readonly args: readonly string[];
}

/** A process that measures. It is idle unless asked. */
export class Child {
  readonly #process: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncGenerator<string>;
  readonly #errors: Promise<string>;

  private constructor(process: Deno.ChildProcess) {
    this.#process = process;
    this.#writer = process.stdin.getWriter();
    this.#lines = readLines(process.stdout);
    this.#errors = new Response(process.stderr).text();
  }

  /**
   * Starts a process. Mesa keeps compiled shaders on disk; without that a first run is a cold one.
   *
   * @throws {Deno.errors.NotFound} If there is no such program.
   */
  static start({ program, args }: Command): Child {
    return new Child(
      new Deno.Command(program, {
        args: [...args],
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
        env: { MESA_SHADER_CACHE_DISABLE: "true", NO_COLOR: "1" },
      }).spawn(),
    );
  }

  /**
   * Asks and waits for the answer.
   *
   * @param question What to do.
   * @param seconds How long to wait; after that the process is ended.
   * @throws {Error} If the child says why it cannot, ends, or does not answer in time.
   */
  async ask(question: Question, seconds = 180): Promise<unknown> {
    const late = new Error(`no answer within ${seconds} s`);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(late), seconds * 1000);
    });
    try {
      const exchange = async () => {
        await this.#writer.write(new TextEncoder().encode(JSON.stringify(question) + "\n"));
        return (await this.#lines.next()).value as string | undefined;
      };
      const line = await Promise.race([exchange().catch(() => undefined), timeout]);
      if (line === undefined) throw new Error(await this.#ending());
      const answer: Answer = JSON.parse(line);
      if ("error" in answer) throw new Error(answer.error);
      return answer.value;
    } catch (error) {
      if (error === late) this.#kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Lets the process end, and ends it if it does not. */
  async close(): Promise<void> {
    const timer = setTimeout(() => this.#kill(), 3000);
    await this.#writer.close().catch(() => {});
    await this.#process.status;
    clearTimeout(timer);
    await this.#lines.return(undefined);
    await this.#errors;
  }

  #kill(): void {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }

  /** Why the process ended. */
  async #ending(): Promise<string> {
    const { code, signal } = await this.#process.status;
    return reason(await this.#errors) ?? `the process ended with ${signal ?? `exit code ${code}`}`;
  }
}

/** The line of what a program wrote on standard error that says most: an error if there is one, else the last. */
export function reason(errors: string): string | undefined {
  const lines = errors.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  return lines.find((line) => /^(error|\w*Error)\b/i.test(line)) ?? lines.at(-1);
}

async function* readLines(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
