/** A tiny model in a folder as Llama 3's instruct models are, for tests of what is made from it. */
import { equal } from "node:assert/strict";
import { join } from "node:path";
import { writeModelFolder } from "../checkpoint/hugging_face.ts";
import { modelFromConfig } from "../models/load.ts";
import { runTask, zeros } from "./cli.ts";

/** Three tokens end a text, of which the tokenizer's own end is the last. */
export const ENDS = [2, 3, 4];

/** The documents beside weights and tokenizer. */
export const DOCUMENTS = {
  tokenizerConfig: {
    bos_token: "<|begin_of_text|>",
    chat_template: "{% for m in messages %}{{ m.role + ': ' + m.content + '<|eot_id|>' }}{% endfor %}",
    eos_token: "<|eot_id|>",
    model_input_names: ["input_ids", "attention_mask"],
    model_max_length: 131072,
    padding_side: "left",
    tokenizer_class: "PreTrainedTokenizerFast",
  },
  generationConfig: {
    bos_token_id: 1,
    do_sample: true,
    eos_token_id: ENDS,
    temperature: 0.6,
    top_p: 0.9,
    transformers_version: "4.42.3",
  },
};

/**
 * Writes the folder.
 *
 * @param dir The folder.
 * @param corpus The text that its tokenizer is trained on.
 */
export async function writeInstructModel(dir: string, corpus: string): Promise<void> {
  await Deno.mkdir(dir);
  const path = join(dir, "tokenizer.json");
  const special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"];
  const options = ["--data", corpus, "--vocab-size", "300", "--out", path, "--special-tokens", ...special];
  const { code, stderr } = await runTask("train-tokenizer", options);
  equal(code, 0, stderr);
  const sizes = { hidden_size: 32, intermediate_size: 48, num_hidden_layers: 1, num_attention_heads: 2 };
  const model = modelFromConfig({
    model_type: "llama",
    ...sizes,
    max_position_embeddings: 32,
    vocab_size: 300,
  });
  await writeModelFolder(dir, {
    config: { ...model.config, bos_token_id: 1, eos_token_id: ENDS },
    tensors: zeros(model),
    tokenizerJson: await Deno.readTextFile(path),
    ...DOCUMENTS,
  });
}
