/**
 * The header of a safetensors file: eight bytes of length, then JSON that says of every tensor its element
 * type, shape and place. Parsing gives the verdict of the Rust reference on every file, with two deliberate
 * exceptions: a repeated key is rejected everywhere (the reference keeps the last of two equal tensor names),
 * and so is a size beyond 2^53 - 1, which only a tensor without elements could have.
 *
 * @module
 */

import { SAFETENSORS_DTYPES, type SafetensorsDtype, sizeInBits, tensorBytes } from "./dtype.ts";
import { parseStrictJson, type StrictJson } from "../../files/strict_json.ts";

/** What the header says of one tensor. */
export interface TensorInfo {
  /** Element type. */
  readonly dtype: SafetensorsDtype;
  /** Sizes of the dimensions, outermost first; `[]` for a scalar. */
  readonly shape: readonly number[];
  /** Where the values start, counted from the first byte after the header. */
  readonly byteOffset: number;
  /** How many bytes the values take. */
  readonly byteLength: number;
}

/** A parsed header. */
export interface SafetensorsHeader {
  /** Free text by key, such as `format: pt`; empty when there is none. */
  readonly metadata: ReadonlyMap<string, string>;
  /** What there is, by name, in the order of the values in the file. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
}

/** Longest header that is accepted, in bytes; the format's own limit. */
export const MAX_HEADER_BYTES = 100_000_000;

const METADATA_KEY = "__metadata__";

/**
 * Reads the first eight bytes of a file: how long the JSON after them is.
 *
 * @param prefix The first bytes of the file, at least eight of them unless the file is shorter.
 * @param fileBytes Length of the whole file.
 * @throws {SyntaxError} If the file is too short for that header, or the header longer than allowed.
 */
export function parseHeaderLength(prefix: Uint8Array, fileBytes: number): number {
  if (fileBytes < 8 || prefix.length < 8) {
    fail(`it must start with an 8-byte header length, got ${fileBytes} bytes in all`);
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) fail(`its header must not exceed ${MAX_HEADER_BYTES} bytes, got ${length}`);
  if (8n + length > fileBytes) {
    fail(
      `its header must end within the file, got ${length} bytes of header in a file of ${fileBytes} bytes`,
    );
  }
  return Number(length);
}

/**
 * Parses and checks the JSON of a header: every tensor's size matches its shape, and the tensors cover the
 * rest of the file without holes or overlaps.
 *
 * @param json The bytes after the header length.
 * @param dataBytes How many bytes follow the header.
 * @throws {SyntaxError} If anything is not as the format demands.
 */
export function parseHeader(json: Uint8Array, dataBytes: number): SafetensorsHeader {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
  } catch {
    fail("its header must be UTF-8");
  }
  const root = parseStrictJson(text);
  if (!(root instanceof Map)) fail(`its header must be a JSON object, got ${kind(root)}`);
  let metadata = new Map<string, string>();
  const tensors: [string, TensorInfo][] = [];
  for (const [name, value] of root) {
    if (name === METADATA_KEY) metadata = parseMetadata(value);
    else tensors.push([name, parseTensorInfo(name, value)]);
  }
  tensors.sort(([, a], [, b]) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength);
  let end = 0;
  for (const [name, { byteOffset, byteLength }] of tensors) {
    if (byteOffset !== end) {
      fail(
        `tensors must follow each other without holes or overlaps, got ${
          quote(name)
        } at ${byteOffset} after ${end}`,
      );
    }
    end += byteLength;
  }
  if (end !== dataBytes) {
    const cause = dataBytes < end
      ? "it was cut short or not fully downloaded"
      : "it has bytes that no tensor owns";
    fail(`its tensors must take ${end} bytes, got ${dataBytes}: ${cause}`);
  }
  return { metadata, tensors: new Map(tensors) };
}

/**
 * Writes a header as the Rust reference does: element types by falling alignment, then names; padded with
 * spaces to a multiple of eight.
 *
 * @param tensors Name, element type and shape of each tensor, in any order.
 * @param metadata Free text by key, or nothing for no metadata. The keys are sorted, so that equal content
 * gives equal bytes.
 * @returns The bytes before the tensors' values, and the tensors in the order in which these follow.
 * @throws {TypeError} If a name is repeated, reserved (`__metadata__`) or not well-formed Unicode.
 * @throws {RangeError} If a shape or a dtype is not allowed, or the header is longer than the format allows.
 */
export function encodeHeader<T extends { name: string; dtype: SafetensorsDtype; shape: readonly number[] }>(
  tensors: readonly T[],
  metadata?: Readonly<Record<string, string>>,
): { bytes: Uint8Array<ArrayBuffer>; ordered: { tensor: T; byteLength: number }[] } {
  const members: string[] = [];
  if (metadata !== undefined) {
    const entries = Object.keys(metadata).sort().map((key) => {
      if (typeof metadata[key] !== "string") {
        throw new TypeError(`The metadata ${quote(key)} must be text, got ${typeof metadata[key]}`);
      }
      return `${jsonString(key)}:${jsonString(metadata[key])}`;
    });
    members.push(`"${METADATA_KEY}":{${entries.join(",")}}`);
  }
  const seen = new Set<string>([METADATA_KEY]);
  const rows = tensors.map((tensor) => {
    const { name, dtype, shape } = tensor;
    if (seen.has(name)) {
      throw new TypeError(
        `Each tensor must have a name of its own other than ${METADATA_KEY}, got ${quote(name)} again`,
      );
    }
    seen.add(name);
    return { tensor, byteLength: tensorBytes(dtype, shape, name), rank: SAFETENSORS_DTYPES.indexOf(dtype) };
  });
  rows.sort((a, b) => b.rank - a.rank || compareByCodePoint(a.tensor.name, b.tensor.name));
  let end = 0;
  for (const { tensor, byteLength } of rows) {
    const offsets = `${end},${end + byteLength}`;
    members.push(
      `${
        jsonString(tensor.name)
      }:{"dtype":"${tensor.dtype}","shape":[${tensor.shape}],"data_offsets":[${offsets}]}`,
    );
    end += byteLength;
  }
  const json = new TextEncoder().encode(`{${members.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw new RangeError(`A safetensors header must not exceed ${MAX_HEADER_BYTES} bytes, got ${length}`);
  }
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return { bytes, ordered: rows };
}

function parseMetadata(value: StrictJson): Map<string, string> {
  const metadata = new Map<string, string>();
  if (value === null) return metadata;
  if (!(value instanceof Map)) fail(`its ${METADATA_KEY} must be an object, got ${kind(value)}`);
  for (const [key, text] of value) {
    if (typeof text !== "string") fail(`its metadata ${quote(key)} must be text, got ${kind(text)}`);
    metadata.set(key, text);
  }
  return metadata;
}

function parseTensorInfo(name: string, value: StrictJson): TensorInfo {
  let fields: (StrictJson | undefined)[];
  if (value instanceof Map) {
    fields = [value.get("dtype"), value.get("shape"), value.get("data_offsets")];
  } else if (Array.isArray(value) && value.length === 3) {
    // Serde, which reads files for the reference, also takes a struct's fields in a row.
    fields = value;
  } else {
    fail(`${quote(name)} must be an object with dtype, shape and data_offsets, got ${kind(value)}`);
  }
  const dtype = parseDtype(name, fields[0]);
  const shape = parseSizes(name, "shape", fields[1]);
  const offsets = parseSizes(name, "data_offsets", fields[2]);
  if (offsets.length !== 2 || offsets[1] < offsets[0]) {
    fail(
      `the data_offsets of ${quote(name)} must be a begin and an end after it, got [${offsets.join(", ")}]`,
    );
  }
  const byteLength = offsets[1] - offsets[0];
  const [bits, problem] = sizeInBits(dtype, shape);
  if (problem !== undefined) fail(`the shape of ${quote(name)} ${problem}, got [${shape.join(", ")}]`);
  if (bits !== 8n * BigInt(byteLength)) {
    fail(`${quote(name)} of ${dtype} [${shape.join(", ")}] must take ${bits / 8n} bytes, got ${byteLength}`);
  }
  return { dtype, shape, byteOffset: offsets[0], byteLength };
}

function parseDtype(name: string, value: StrictJson | undefined): SafetensorsDtype {
  // Serde's other spelling of an enum: {"F32": null}.
  if (value instanceof Map && value.size === 1) {
    const [[key, content]] = value;
    if (content === null) value = key;
  }
  if (typeof value === "string" && (SAFETENSORS_DTYPES as readonly string[]).includes(value)) {
    return value as SafetensorsDtype;
  }
  const got = typeof value === "string" ? quote(value) : kind(value);
  fail(`the dtype of ${quote(name)} must be one of ${SAFETENSORS_DTYPES.join(", ")}, got ${got}`);
}

function parseSizes(name: string, field: string, value: StrictJson | undefined): number[] {
  if (!Array.isArray(value)) fail(`the ${field} of ${quote(name)} must be an array, got ${kind(value)}`);
  return value.map((size) => {
    if (typeof size !== "bigint" || size < 0n || size > Number.MAX_SAFE_INTEGER) {
      const got = typeof size === "bigint" || typeof size === "number" ? String(size) : kind(size);
      fail(`the ${field} of ${quote(name)} must hold whole numbers from 0 to 2^53 - 1, got ${got}`);
    }
    return Number(size);
  });
}

/** Orders text as its UTF-8 bytes are ordered, which `<` on UTF-16 does not do beyond U+FFFF. */
function compareByCodePoint(a: string, b: string): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const left = a.charCodeAt(i), right = b.charCodeAt(i);
    if (left === right) continue;
    const leftSurrogate = left >= 0xd800 && left < 0xe000, rightSurrogate = right >= 0xd800 && right < 0xe000;
    return leftSurrogate === rightSurrogate ? left - right : leftSurrogate ? 1 : -1;
  }
  return a.length - b.length;
}

function jsonString(text: string): string {
  if (typeof text !== "string" || !text.isWellFormed()) {
    throw new TypeError(
      `A name in a safetensors file must be well-formed Unicode text, got ${quote(String(text))}`,
    );
  }
  return JSON.stringify(text);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? text.slice(0, 100) + "…" : text);
}

function kind(value: StrictJson | undefined): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (value instanceof Map) return "an object";
  if (Array.isArray(value)) return "an array";
  return `a ${typeof value === "bigint" ? "number" : typeof value}`;
}

function fail(problem: string): never {
  throw new SyntaxError(`Cannot read as safetensors: ${problem}`);
}
