/**
 * What a child answers, in a process or in a page.
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
 * Makes the function that answers questions, each a JSON document.
 *
 * @param description What it runs on.
 * @param prepare Sets up a case and checks its result; throws if it is wrong.
 * @param ceilings Measures what the adapter can do at best.
 */
export function answers(
  description: string,
  prepare: (what: Case) => Promise<Prepared> | Prepared,
  ceilings?: () => Promise<unknown>,
): (question: string) => Promise<Answer> {
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
  return async (question) => {
    try {
      return { value: await answer(JSON.parse(question)) ?? null };
    } catch (error) {
      return { error: error instanceof Error ? error.message || error.name : String(error) };
    }
  };
}
