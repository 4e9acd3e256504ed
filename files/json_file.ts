/**
 * JSON files of a checkpoint or a run: written atomically, and read with errors that name the file.
 *
 * @module
 */

import { explained, writeTextAtomically } from "./atomic_file.ts";

/** A value that JSON holds without loss. Numbers must be finite. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;

/** An object of {@linkcode JsonValue}s. */
export interface JsonObject {
  /** Members by name. */
  readonly [key: string]: JsonValue;
}

/**
 * Writes a value as JSON. Unlike `JSON.stringify` it drops and changes nothing but members that are `undefined`.
 *
 * @param value The value.
 * @param indent Spaces per level; 0 gives one line. Default: 2.
 * @returns The text.
 * @throws {TypeError} If it holds a number that is not finite, a `bigint`, a function or a symbol.
 */
export function jsonText(value: unknown, indent = 2): string {
  return JSON.stringify(value, (key, member) => {
    const lossy = typeof member === "number" ? !Number.isFinite(member) : LOSSY_TYPES.has(typeof member);
    if (lossy) {
      throw new TypeError(
        `Cannot write as JSON: ${JSON.stringify(key)} must be a value of JSON, got ${String(member)}`,
      );
    }
    return member;
  }, indent);
}

const LOSSY_TYPES: ReadonlySet<string> = new Set(["bigint", "function", "symbol"]);

/**
 * Writes a JSON file that appears whole or not at all.
 *
 * @param path The file; its folder must exist. An existing file is replaced.
 * @param value The content.
 * @throws {TypeError} If the value is not representable, see {@linkcode jsonText}.
 * @throws {Error} If the file cannot be written, with what to do about it.
 */
export async function writeJsonFile(path: string, value: unknown): Promise<void> {
  await writeTextAtomically(path, jsonText(value) + "\n");
}

/**
 * Reads a JSON file that holds an object.
 *
 * @param path The file.
 * @returns The object.
 * @throws {SyntaxError} If it is not JSON, or no object.
 * @throws {Deno.errors.NotFound} If there is no such file.
 * @throws {Error} If it cannot be read for another reason, with what to do about it.
 */
export async function readJsonFile(path: string): Promise<Record<string, unknown>> {
  return parseJsonObject(await readText(path), path);
}

/**
 * Reads a text file; a failure says which.
 *
 * @param path The file.
 * @returns The text.
 * @throws {Error} If it cannot be read, with what to do about it.
 */
export async function readText(path: string): Promise<string> {
  return await explained(`Cannot read ${path}`, () => Deno.readTextFile(path));
}

/**
 * Parses JSON text that must be an object.
 *
 * @param text The text.
 * @param path Where it comes from, for messages.
 * @returns The object.
 * @throws {SyntaxError} If it is not JSON, or no object.
 */
export function parseJsonObject(text: string, path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(
      `Cannot read ${path}: it must be JSON, got ${text.length} characters that are not (${
        (error as Error).message
      }); it may be cut short: restore it from its source`,
      { cause: error },
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    const got = value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`;
    throw new SyntaxError(`Cannot read ${path}: it must hold a JSON object, got ${got}`);
  }
  return value as Record<string, unknown>;
}
