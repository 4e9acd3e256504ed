/**
 * koala-lm's generation: GPT-2 through the Generator.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import { Generator } from "../../training/generate/generation.ts";
import { declareParameters } from "../../training/run/load_weights.ts";
import { digestOfIds, promptOf, weights } from "../inputs.ts";
import type { GenerationCase } from "../protocol.ts";
import type { Prepared } from "../serve.ts";
import { benchModel } from "./step.ts";

/** Compiles generation and continues the prompts once. */
export async function prepareGeneration(gpu: Gpu, what: GenerationCase): Promise<Prepared> {
  const { model: shape, promptTokens, tokens } = what;
  const model = benchModel(shape);
  const parameters = declareParameters(model);
  await parameters.allocate(gpu, 0);
  for (const { name, values } of weights(shape)) parameters.write(gpu, `transformer.${name}`, values);
  const requests = Array.from({ length: shape.batch }, (_, sequence) => ({
    prompt: [...promptOf(shape, promptTokens, sequence)],
    maxTokens: tokens,
    temperature: 0,
  }));
  const began = performance.now();
  const generator = await Generator.create(gpu, model, parameters, {
    batchSize: shape.batch,
    contextLength: Math.min(shape.seqLen, promptTokens + tokens),
  });
  const ids = (await generator.generateAll(requests)).flat();
  const first = (performance.now() - began) / 1e3;
  const warm = performance.now();
  await generator.generateAll(requests);
  const once = (performance.now() - warm) / 1e3;
  return {
    ready: { first, once, ids: await digestOfIds(ids) },
    async run(count) {
      for (let i = 0; i < count; i++) await generator.generateAll(requests);
    },
    release: () => [generator, parameters].forEach((made) => made.destroy()),
  };
}
