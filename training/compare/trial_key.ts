/**
 * What decides the result of a trial: its configuration, the token ids, and the code that computes with them. A result
 * is kept under it and taken again only for the same.
 *
 * @module
 */
import deno from "../../deno.json" with { type: "json" };
import { sha256 } from "../../data/tokens/cache.ts";
import type { Profile } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import type { LanguageModel } from "../../models/model.ts";
import type { RunConfig } from "../run/config.ts";
import { stepOptions } from "../run/step_options.ts";
import { recordStep } from "../step/recording.ts";
import { languageModelLoss } from "../step/trainer.ts";
import type { TrialContext } from "./trial.ts";

/**
 * Makes the key.
 *
 * The kernels that were measured to be fastest are no part of it: they differ in rounding only, and which they are
 * depends on the hour. The text of all that might be is.
 *
 * @param config The run.
 * @param context What all runs share.
 * @returns A document for JSON.
 */
export function trialKey(config: RunConfig, context: TrialContext): Readonly<Record<string, unknown>> {
  const { kernels: _, recompute: __, ...decides } = config;
  const { gpu, model, dataset, evalPoints, evalBatches } = context;
  return {
    config: decides,
    corpus: dataset.corpusDigest,
    tokenizer: context.tokenizerDigest,
    evaluated: [evalPoints, evalBatches],
    adapter: gpu.description,
    ...codeKey(gpu.profile, config, model),
  };
}

/**
 * The code behind a trial: the version of what runs on the host, and a digest of everything that the GPU is
 * given, so that a change of a kernel shows although the version stays.
 *
 * @param profile The adapter.
 * @param config The run.
 * @param model The model.
 */
export function codeKey(
  profile: Profile,
  config: RunConfig,
  model: LanguageModel,
): { readonly version: string; readonly program: string } {
  const options = stepOptions({ ...config, kernels: undefined, recompute: undefined }, model);
  const { graph } = recordStep(profile, options);
  const candidates = [...graph.choices.values()].flatMap(({ candidates, trial }) =>
    candidates.map((candidate) => {
      const g = new Graph({ profile });
      trial(g, candidate);
      return g;
    })
  );
  const evaluation = new Graph({ profile });
  languageModelLoss(model, config.batchSize, config.seqLen)(evaluation);
  const texts = [graph, evaluation, ...candidates].flatMap(({ microKernels, updateKernels, constants }) => [
    ...[...microKernels, ...updateKernels].map(({ code, workgroups }) => [code, workgroups]),
    ...constants.map(({ values }) => [...values]),
  ]);
  return { version: deno.version, program: sha256(JSON.stringify(texts)) };
}
