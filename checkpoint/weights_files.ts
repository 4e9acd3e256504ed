/**
 * The weights of a model folder: one `model.safetensors`, or shards with an index that says which holds what.
 *
 * @module
 */

import { join } from "node:path";
import { WEIGHTS_FILE, WEIGHTS_INDEX_FILE } from "../files/hugging_face_names.ts";
import { readJsonFile, writeJsonFile } from "../files/json_file.ts";
import {
  readSafetensors,
  type SafetensorsFile,
  tensorBytes,
  type TensorToWrite,
  writeSafetensors,
} from "./safetensors/safetensors.ts";

/** Weights that other programs write and this one does not read. */
const OTHER_WEIGHTS =
  /^(pytorch_model.*\.(bin|index\.json)|.*\.(pt|pth|ckpt)|consolidated.*\.pth|tf_model\.h5|flax_model.*\.msgpack|.*\.gguf)$/;

/** How many missing shards an error names before it only counts. */
const LISTED = 20;

/**
 * Opens the weights of a model folder.
 *
 * @param dir The folder.
 * @param entries The names of what is in it.
 * @param files Gets the open files, those of a failed attempt too; they belong to the caller.
 * @returns The file of each tensor, by the names in the files.
 * @throws {Deno.errors.NotFound} If there are no weights, or shards are missing; one error names them all.
 * @throws {SyntaxError} If a file is broken or cut short, or a shard lacks a tensor that the index promises.
 * @throws {Error} If a file cannot be read for another reason, with what to do about it.
 */
export async function openWeights(
  dir: string,
  entries: ReadonlySet<string>,
  files: SafetensorsFile[],
): Promise<Map<string, SafetensorsFile>> {
  // Of both, transformers too takes the whole file.
  if (entries.has(WEIGHTS_FILE)) {
    const file = await readSafetensors(join(dir, WEIGHTS_FILE));
    files.push(file);
    return new Map(file.tensors.keys().map((name) => [name, file]));
  }
  if (!entries.has(WEIGHTS_INDEX_FILE)) {
    throw new Deno.errors.NotFound(
      `${dir} has no weights to read: it must hold ${WEIGHTS_FILE} or ${WEIGHTS_INDEX_FILE}, got ${
        summary(entries)
      }` +
        remedy(dir, entries),
    );
  }
  const weightMap = await readWeightMap(join(dir, WEIGHTS_INDEX_FILE), entries);
  const shards = new Map<string, SafetensorsFile>();
  const owners = new Map<string, SafetensorsFile>();
  for (const [name, shard] of weightMap) {
    let file = shards.get(shard);
    if (file === undefined) {
      file = await readSafetensors(join(dir, shard));
      files.push(file);
      shards.set(shard, file);
    }
    if (!file.tensors.has(name)) {
      throw new SyntaxError(
        `Cannot read ${file.path}: it must hold ${JSON.stringify(name)}, as ${WEIGHTS_INDEX_FILE} says`,
      );
    }
    owners.set(name, file);
  }
  return owners;
}

/** The shard of each tensor, all of which are there. */
async function readWeightMap(
  indexPath: string,
  entries: ReadonlySet<string>,
): Promise<[name: string, shard: string][]> {
  const weightMap = (await readJsonFile(indexPath)).weight_map;
  if (typeof weightMap !== "object" || weightMap === null || Array.isArray(weightMap)) {
    throw new SyntaxError(`Cannot read ${indexPath}: it must hold an object weight_map, got none`);
  }
  // Only names in this very folder: an index must not lead anywhere else.
  const missing = new Map<string, string>();
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== "string" || !entries.has(shard)) missing.set(JSON.stringify(shard), name);
  }
  if (missing.size === 0) return Object.entries(weightMap);
  const shown = [...missing].slice(0, LISTED).map(([shard, name]) => `${shard} with ${JSON.stringify(name)}`);
  const rest = missing.size > LISTED ? ` and ${missing.size - LISTED} more` : "";
  throw new Deno.errors.NotFound(
    `The shards that ${indexPath} names must be in the same folder, got no ${shown.join(", no ")}${rest}; ` +
      "copy all shards",
  );
}

/**
 * Writes weights as one file, or as several when they are larger than a shard may be.
 *
 * @param dir The folder; it exists.
 * @param tensors The tensors. Shards take them in this order, as `save_pretrained` does: the next shard begins
 * with the first tensor that no longer fits.
 * @param maxShardBytes The most bytes of values in a file; only a larger tensor, alone, makes a larger file.
 * Default: one file.
 * @throws {TypeError} If a name is repeated or reserved.
 * @throws {RangeError} If a shape is not allowed, the values have another size than it says, or there would be
 * more than 99,999 shards.
 * @throws {Error} If a file cannot be written, with what to do about it.
 */
export async function writeWeights(
  dir: string,
  tensors: Iterable<TensorToWrite> | AsyncIterable<TensorToWrite>,
  maxShardBytes = Infinity,
): Promise<void> {
  const shards = planShards(await Array.fromAsync(tensors), maxShardBytes);
  if (shards.length > 99_999) {
    throw new RangeError(`There must be at most 99999 shards, got ${shards.length}; allow larger ones`);
  }
  const files = shards.map((_, i) =>
    shards.length === 1 ? WEIGHTS_FILE : `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`
  );
  const weightMap = new Map<string, string>();
  let totalSize = 0;
  let parameters = 0;
  for (const [i, shard] of shards.entries()) {
    for (const { name, dtype, shape } of shard) {
      if (weightMap.has(name)) {
        throw new TypeError(`Each tensor must have a name of its own, got ${JSON.stringify(name)} again`);
      }
      weightMap.set(name, files[i]);
      totalSize += tensorBytes(dtype, shape, name);
      parameters += shape.reduce((a, b) => a * b, 1);
    }
  }
  for (const [i, shard] of shards.entries()) {
    await writeSafetensors(join(dir, files[i]), shard, { format: "pt" });
  }
  if (shards.length === 1) return;
  await writeJsonFile(join(dir, WEIGHTS_INDEX_FILE), {
    metadata: { total_parameters: parameters, total_size: totalSize },
    weight_map: Object.fromEntries([...weightMap].sort(([a], [b]) => a < b ? -1 : 1)),
  });
}

/** Fills one shard after the other, without an attempt to fill them well. */
function planShards(tensors: readonly TensorToWrite[], maxShardBytes: number): TensorToWrite[][] {
  if (!(maxShardBytes >= 1)) {
    throw new RangeError(`A shard must be allowed at least one byte, got ${maxShardBytes}`);
  }
  const alone: TensorToWrite[][] = [];
  const shards: TensorToWrite[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const size = tensorBytes(tensor.dtype, tensor.shape, tensor.name);
    if (size > maxShardBytes) {
      alone.push([tensor]);
      continue;
    }
    if (bytes + size > maxShardBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards[shards.length - 1].push(tensor);
    bytes += size;
  }
  const filled = shards.filter((shard) => shard.length > 0).concat(alone);
  return filled.length === 0 ? [[]] : filled;
}

function digits(n: number): string {
  return String(n).padStart(5, "0");
}

/** What to do about a folder whose weights are in another format, or not there. */
function remedy(dir: string, entries: ReadonlySet<string>): string {
  if ([...entries].some((name) => name.endsWith(".safetensors"))) {
    return `; name a single file ${WEIGHTS_FILE}, or copy the index of the shards`;
  }
  if (![...entries].some((name) => OTHER_WEIGHTS.test(name))) return "; copy the weights there";
  const path = JSON.stringify(dir);
  return "; these weights are in another format: convert them in Python, which loads them and saves safetensors, by " +
    `from transformers import AutoModelForCausalLM as M; M.from_pretrained(${path}).save_pretrained("converted")`;
}

/**
 * Some names of a folder, for messages.
 *
 * @param names The names.
 */
export function summary(names: ReadonlySet<string>): string {
  const shown = [...names].slice(0, 8).join(", ");
  return names.size === 0 ? "an empty folder" : names.size > 8 ? `${shown}, …` : shown;
}
