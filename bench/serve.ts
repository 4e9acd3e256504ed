/**
 * The child's side of the bench: answers questions until its standard input ends.
 *
 * @module
 */
import { answers, type Prepared } from "./answers.ts";
import type { Answer, Case } from "./protocol.ts";

export type { Prepared };

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
  return await relay(answers(description, prepare, ceilings));
}

/**
 * The same with the answers of another place.
 *
 * @param answer Answers a question, a JSON document.
 * @param end What to do before the process ends.
 */
export async function relay(
  answer: (line: string) => Promise<Answer>,
  end?: () => Promise<void>,
): Promise<never> {
  // Standard output belongs to the protocol, and libraries like to talk.
  console.log = console.info = console.debug = console.error;
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const reply = await answer(line);
      const bytes = new TextEncoder().encode(JSON.stringify(reply) + "\n");
      for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
    }
  }
  await end?.();
  // Some libraries keep workers that would hold the process.
  Deno.exit(0);
}
