/** Logits here, to be compared with Python's. */
import { deepEqual, equal } from "node:assert/strict";
import { openModel } from "../../checkpoint/open_model.ts";
import type { Gpu } from "../../gpu/device.ts";
import { modelFromConfig } from "../../models/load.ts";
import { Generator } from "../../training/generate/generation.ts";
import { loadParameters } from "../../training/run/load_weights.ts";
import { runTask } from "../cli.ts";

/** Prompts of one token to many, with ids below 1100. */
export const PROMPTS = [[5], [7, 300, 12, 1099], Array.from({ length: 24 }, (_, i) => (i * 37) % 1100)];

/** Logits of the last position of each prompt. */
export type Logits = number[][];

/** Those of a model folder, or of an adapter and its model. */
export async function logitsHere(gpu: Gpu, path: string): Promise<Logits> {
  using folder = await openModel(path);
  const model = modelFromConfig(folder.config);
  const parameters = await loadParameters(gpu, model, folder);
  const generator = await Generator.create(gpu, model, parameters);
  const logits: Logits = [];
  for (const prompt of PROMPTS) logits.push([...await generator.logits(prompt)]);
  generator.destroy();
  parameters.destroy();
  return logits;
}

/** The largest difference of two logits. */
export function worst(a: Logits, b: Logits): number {
  deepEqual(a.map((row) => row.length), b.map((row) => row.length));
  return a.flatMap((row, i) => row.map((z, v) => Math.abs(z - b[i][v]))).reduce((m, d) => Math.max(m, d), 0);
}

/** Runs a task, which must succeed. */
export async function run(task: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runTask(task, args);
  equal(code, 0, stderr);
  return stdout;
}
