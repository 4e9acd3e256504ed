/**
 * A strict JSON parser for files that must mean one thing only.
 *
 * `JSON.parse` is too kind for the header of a safetensors file: it keeps the last of two equal keys, takes
 * `1.0` for `1`, rounds `9007199254740993`, and overflows the stack on deep nesting. This parser rejects
 * repeated keys and lone surrogates, tells integers (`bigint`) from all other numbers (`number`), stops at
 * 127 levels, and keeps objects as `Map`s, in which `__proto__` is a key like any other.
 *
 * @module
 */

/** What {@linkcode parseStrictJson} returns: integers are `bigint`, other numbers `number`. */
export type StrictJson =
  | null
  | boolean
  | number
  | bigint
  | string
  | StrictJson[]
  | Map<string, StrictJson>;

/** Deepest nesting that is accepted; the Rust reference of safetensors stops there too. */
export const MAX_JSON_DEPTH = 127;

const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const WHITESPACE = /[ \t\n\r]*/y;
const LARGEST_INTEGER = 2n ** 64n;
const SMALLEST_INTEGER = -(2n ** 63n);

/**
 * Parses a JSON document strictly.
 *
 * @param text The document.
 * @returns Its value; objects are `Map`s, integers that fit 64 bits are `bigint`s (`-0` is a `number`).
 * @throws {SyntaxError} If it is not JSON, repeats a key, holds a lone surrogate or a number beyond float64,
 * or is nested deeper than {@linkcode MAX_JSON_DEPTH}.
 *
 * @example Integers and other numbers
 * ```ts
 * import { parseStrictJson } from "./strict_json.ts";
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(parseStrictJson('{"a": [1, 1.0]}'), new Map([["a", [1n, 1]]]));
 * assert.throws(() => parseStrictJson('{"a": 1, "a": 2}'), SyntaxError);
 * ```
 */
export function parseStrictJson(text: string): StrictJson {
  const parser = new Parser(text);
  const value = parser.value(0);
  parser.end();
  return value;
}

class Parser {
  #at = 0;

  constructor(readonly text: string) {}

  value(depth: number): StrictJson {
    this.#skipWhitespace();
    switch (this.text[this.#at]) {
      case "{":
        return this.#object(depth + 1);
      case "[":
        return this.#array(depth + 1);
      case '"':
        return this.#string();
      case "n":
        return this.#word("null", null);
      case "t":
        return this.#word("true", true);
      case "f":
        return this.#word("false", false);
      default:
        return this.#number();
    }
  }

  end(): void {
    this.#skipWhitespace();
    if (this.#at < this.text.length) this.#fail("nothing may follow the value");
  }

  #object(depth: number): Map<string, StrictJson> {
    this.#checkDepth(depth);
    const members = new Map<string, StrictJson>();
    this.#at++;
    if (this.#take("}")) return members;
    do {
      this.#skipWhitespace();
      if (this.text[this.#at] !== '"') this.#fail("a key in double quotes must come here");
      const start = this.#at;
      const key = this.#string();
      if (members.has(key)) {
        this.#at = start;
        this.#fail(`a key must not be repeated within an object, but ${JSON.stringify(key)} is`);
      }
      if (!this.#take(":")) this.#fail("a colon must follow a key");
      members.set(key, this.value(depth));
    } while (this.#take(","));
    if (!this.#take("}")) this.#fail("a comma or } must come here");
    return members;
  }

  #array(depth: number): StrictJson[] {
    this.#checkDepth(depth);
    const items: StrictJson[] = [];
    this.#at++;
    if (this.#take("]")) return items;
    do items.push(this.value(depth)); while (this.#take(","));
    if (!this.#take("]")) this.#fail("a comma or ] must come here");
    return items;
  }

  #string(): string {
    const literal = this.#stringLiteral();
    let value: string;
    try {
      value = JSON.parse(literal);
    } catch {
      this.#fail("the string that starts here has a bad escape or a bare control character");
    }
    if (!value.isWellFormed()) this.#fail("the string that starts here has a lone surrogate");
    this.#at += literal.length;
    return value;
  }

  /** From the opening to the closing quote; what is between is left to `JSON.parse`. */
  #stringLiteral(): string {
    let end = this.#at;
    let escaped = true;
    while (escaped) {
      end = this.text.indexOf('"', end + 1);
      if (end === -1) this.#fail("the string that starts here must be closed");
      let backslash = end;
      while (this.text[backslash - 1] === "\\") backslash--;
      escaped = (end - backslash) % 2 === 1;
    }
    return this.text.slice(this.#at, end + 1);
  }

  #number(): number | bigint {
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.text);
    if (match === null) this.#fail("a value must come here");
    const [literal, fraction, exponent] = match;
    const value = Number(literal);
    if (!Number.isFinite(value)) this.#fail("a number must fit float64");
    this.#at += literal.length;
    if (fraction !== undefined || exponent !== undefined || Object.is(value, -0)) return value;
    // Beyond 64 bits the reference falls back to floating point as well.
    const integer = BigInt(literal);
    return integer >= LARGEST_INTEGER || integer < SMALLEST_INTEGER ? value : integer;
  }

  #word<T>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.#at)) this.#fail("a value must come here");
    this.#at += word.length;
    return value;
  }

  #take(character: string): boolean {
    this.#skipWhitespace();
    if (this.text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #skipWhitespace(): void {
    WHITESPACE.lastIndex = this.#at;
    WHITESPACE.test(this.text);
    this.#at = WHITESPACE.lastIndex;
  }

  #checkDepth(depth: number): void {
    if (depth > MAX_JSON_DEPTH) this.#fail(`nesting must not exceed ${MAX_JSON_DEPTH} levels`);
  }

  #fail(rule: string): never {
    const rest = this.text.slice(this.#at, this.#at + 20);
    const found = rest === "" ? "the end" : JSON.stringify(rest);
    throw new SyntaxError(`Cannot parse as JSON: ${rule}, got ${found} at character ${this.#at}`);
  }
}
