/**
 * What the tests of kernels use of `node:assert/strict`, for pages: they get this module by that name.
 *
 * @module
 */

/** Thrown where something does not hold. */
export class AssertionError extends Error {
  /** Always `AssertionError`. */
  override name = "AssertionError";
}

/** What an error must be: of a class, with a text that matches, or with these properties. */
// deno-lint-ignore no-explicit-any
export type Expected = RegExp | (new (...args: any[]) => unknown) | Readonly<Record<string, unknown>>;

/** Holds that a value is truthy. */
export function ok(value: unknown, message?: string): asserts value {
  if (!value) throw new AssertionError(message ?? `must be truthy, got ${shown(value)}`);
}

function different(got: unknown, expected: unknown, message?: string): AssertionError {
  return new AssertionError(message ?? `must be ${shown(expected)}, got ${shown(got)}`);
}

/** Holds that two values are the same, as `Object.is` sees it. */
export function equal(got: unknown, expected: unknown, message?: string): void {
  if (!Object.is(got, expected)) throw different(got, expected, message);
}

/** Holds that two values have the same structure and the same values in it. */
export function deepEqual(got: unknown, expected: unknown, message?: string): void {
  if (!isSame(got, expected)) throw different(got, expected, message);
}

/** Holds that a text has a match. */
export function match(got: string, pattern: RegExp, message?: string): void {
  if (!pattern.test(got)) throw new AssertionError(message ?? `must match ${pattern}, got ${shown(got)}`);
}

/** Holds that a function throws what is expected. */
export function throws(run: () => unknown, expected?: Expected): void {
  let thrown: unknown;
  try {
    run();
  } catch (error) {
    thrown = error;
    if (expected === undefined || isExpected(error, expected)) return;
  }
  throw new AssertionError(`must throw ${shown(expected)}, got ${thrown ?? "no error"}`, { cause: thrown });
}

function isExpected(error: unknown, expected: Expected): boolean {
  if (expected instanceof RegExp) return expected.test(String(error));
  if (typeof expected === "function") return error instanceof expected;
  return Object.entries(expected).every(([key, value]) => {
    const got = (error as Record<string, unknown>)[key];
    return value instanceof RegExp ? value.test(String(got)) : isSame(got, value);
  });
}

function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Set && b instanceof Set) {
    if ([...a, ...b].some((x) => typeof x === "object")) {
      throw new Error("sets of objects cannot be compared");
    }
    return a.size === b.size && [...a].every((x) => b.has(x));
  }
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && [...a].every(([key, x]) => b.has(key) && isSame(x, b.get(key)));
  }
  const isPlain = Array.isArray(a) || ArrayBuffer.isView(a) || Object.getPrototypeOf(a) === Object.prototype;
  if (!isPlain) throw new Error(`${a.constructor.name}s cannot be compared`);
  const [x, y] = [a, b] as Record<string, unknown>[];
  const keys = Object.keys(x);
  return keys.length === Object.keys(y).length &&
    keys.every((key) => Object.hasOwn(y, key) && isSame(x[key], y[key]));
}

/** A value as a message has it. */
function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object" || value === null || value instanceof RegExp) return String(value);
  try {
    return JSON.stringify(value instanceof Map || value instanceof Set ? [...value] : value);
  } catch {
    return Object.prototype.toString.call(value); // It holds itself.
  }
}
