/**
 * Writes a checkpoint as a run does, without a GPU: `write_checkpoint.ts RUN_DIR STEP`. For tests in which the process
 * may not write as much as it wants to; software adapters keep their memory in files, so a run itself would not start.
 */
import { writeCheckpoint } from "../checkpoint/run/training_state.ts";
import { modelFromConfig } from "../models/load.ts";
import { zeros } from "./cli.ts";

const [runDir, step] = Deno.args;
const model = modelFromConfig({ model_type: "gpt2", n_embd: 64, n_layer: 2, n_head: 2, vocab_size: 300 });
const tensors = zeros(model);
const optimizer = tensors.flatMap((tensor) =>
  ["m", "v"].map((part) => ({ ...tensor, name: `${part}.${tensor.name}` }))
);
const state = { step: Number(step), seeds: {}, dataCursor: {}, metrics: {} };
try {
  await writeCheckpoint(runDir, { model: { config: model.config, tensors }, optimizer, state });
} catch (error) {
  console.error(`error: ${(error as Error).message}`);
  Deno.exit(1);
}
