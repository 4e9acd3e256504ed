/**
 * The child's side of the bench: answers questions until its standard input ends.
 *
 * @module
 */
import type { Answer, Case, Question, Ready } from "./protocol.ts";

/** A case that is ready to be timed. */
export interface Prepared {
  /** What to tell the bench. */
  readonly ready: Ready;
  /** Does the work `count` times and waits once, at the end. */
  run(count: number): Promise<unknown>;
  /** Gives memory back. */
  release?(): void;
}

/**
 * Serves until standard input ends, then ends the process.
 *
 * @param description What this process runs on.
 * @param prepare Sets up a case and checks its result; throws if it is wrong.
 * @param ceilings Measures what the adapter can do at best.
 */
export async function serve(
  description: string,
  prepare: (what: Case) => Promise<Prepared> | Prepared,
  ceilings?: () => Promise<unknown>,
): Promise<never> {
  // Standard output belongs to the protocol, and libraries like to talk.
  console.log = console.info = console.debug = console.error;
  const cases = new Map<number, Prepared>();
  const answer = async (question: Question): Promise<unknown> => {
    switch (question.ask) {
      case "hello":
        return description;
      case "ceilings":
        return ceilings?.();
      case "prepare": {
        const prepared = await prepare(question.case);
        cases.set(question.id, prepared);
        return prepared.ready;
      }
      case "time": {
        const began = performance.now();
        await cases.get(question.id)!.run(question.count);
        return (performance.now() - began) / 1e3 / question.count;
      }
      case "release":
        cases.get(question.id)?.release?.();
        cases.delete(question.id);
    }
  };
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      let reply: Answer;
      try {
        reply = { value: await answer(JSON.parse(line)) ?? null };
      } catch (error) {
        reply = { error: error instanceof Error ? error.message || error.name : String(error) };
      }
      const bytes = new TextEncoder().encode(JSON.stringify(reply) + "\n");
      for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
    }
  }
  // Some libraries keep workers that would hold the process.
  Deno.exit(0);
}
