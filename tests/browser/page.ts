/**
 * In a page: what test files use of `Deno`, and the run of a file's tests, on a device with WebGPU's default limits.
 * What it finds is told to the program that opened the page.
 *
 * @module
 */
import "../default_limits.ts";

/** What became of a test. */
export interface Outcome {
  /** Its name. */
  readonly name: string;
  /** As `deno test` calls it. */
  readonly result: "ok" | "FAILED" | "ignored";
  /** How long it took. */
  readonly ms: number;
  /** What went wrong, and where. */
  readonly error?: string;
}

interface Context {
  step(name: string, run: () => unknown): Promise<boolean>;
}
type Run = (t: Context) => unknown;
interface Test {
  name: string;
  ignore: boolean;
  run: Run;
}

const tests: Test[] = [];

/** `Deno.test(name, run)` and `Deno.test(name, { ignore }, run)`. */
function test(name: string, second: Run | { ignore?: boolean }, third?: Run): void {
  const { ignore = false } = typeof second === "function" ? {} : second;
  tests.push({ name, ignore, run: third ?? second as Run });
}

/** Runs a test, its steps included: all of them run, and the first that fails is what the test failed by. */
async function outcomeOf({ name, ignore, run }: Test): Promise<Outcome> {
  if (ignore) return { name, result: "ignored", ms: 0 };
  const began = performance.now();
  const errors: string[] = [];
  const attempt = async (run: () => unknown, place = ""): Promise<boolean> => {
    const before = errors.length;
    try {
      await run();
    } catch (error) {
      errors.push(place + (error instanceof Error ? error.stack ?? String(error) : String(error)));
    }
    return errors.length === before;
  };
  await attempt(() => run({ step: (step, run) => attempt(run, `${step}: `) }));
  const ms = performance.now() - began;
  return { name, result: errors.length === 0 ? "ok" : "FAILED", ms, error: errors[0] };
}

Object.assign(globalThis, {
  Deno: { test },
  /** Loads a bundled test file and runs its tests. */
  async runTests(path: string, subgroups: boolean, report: (outcome: Outcome) => Promise<void>) {
    if (!subgroups) refuseSubgroups();
    await import(path);
    for (const test of tests) await report(await outcomeOf(test));
  },
});

/** From then on no device has subgroups, whatever it is asked for. */
function refuseSubgroups(): void {
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = function (descriptor) {
    const requiredFeatures = [...descriptor?.requiredFeatures ?? []].filter((name) =>
      name !== "subgroups" as GPUFeatureName
    );
    return requestDevice.call(this, { ...descriptor, requiredFeatures });
  };
}
