/**
 * `deno task generate`: continues a prompt with a trained model.
 *
 * @module
 */
import { requestGpu } from "../gpu/device.ts";
import { Generator } from "../training/generation.ts";
import { loadParameters } from "../training/load_weights.ts";
import { jsonOption, type OptionValues, runTask, type TaskContext } from "./command_line.ts";
import { checkpointOption, openTextModel } from "./text_model.ts";

const options = {
  "checkpoint": checkpointOption,
  "prompt": { type: "string", default: "It was", description: "the beginning" },
  "max-tokens": { type: "integer", min: 1, default: 100, description: "tokens to add at most" },
  "temperature": { type: "number", min: 0, default: 0.8, description: "0 always takes the likeliest token" },
  "top-k": { type: "integer", min: 0, default: 0, description: "only the k likeliest tokens; 0 for all" },
  "top-p": {
    type: "number",
    above: 0,
    max: 1,
    default: 1,
    description: "only the likeliest tokens up to this mass",
  },
  "seed": { type: "integer", min: 0, default: 0, description: "seed of the draws" },
  "json": jsonOption,
} as const;

async function main(values: OptionValues<typeof options>, { output }: TaskContext): Promise<void> {
  using opened = await openTextModel(values.checkpoint);
  const { folder, model, tokenizer } = opened;
  const promptIds = tokenizer.encode(values.prompt);
  const gpu = await requestGpu();
  try {
    const parameters = await loadParameters(gpu, model, folder);
    const generator = await Generator.create(gpu, model, parameters);
    const ids: number[] = [];
    let shown = values.prompt;
    const show = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(text));
    if (!output.json) show(values.prompt);
    await generator.generate(promptIds, {
      maxTokens: values.maxTokens,
      temperature: values.temperature,
      topK: values.topK,
      topP: values.topP,
      seed: values.seed,
      stopId: tokenizer.eosId ?? undefined,
      onToken(id) {
        ids.push(id);
        if (output.json) return;
        const text = values.prompt + tokenizer.decode(ids, { skipSpecialTokens: true });
        // A token may end within a character, which decodes as U+FFFD until the rest has come.
        if (text.endsWith("\uFFFD")) return;
        show(text.slice(shown.length));
        shown = text;
      },
    });
    generator.destroy();
    parameters.destroy();
    const text = tokenizer.decode(ids, { skipSpecialTokens: true });
    if (output.json) output.result({ prompt: values.prompt, text, ids, checkpoint: folder.path });
    else show(`${(values.prompt + text).slice(shown.length)}\n`);
  } finally {
    gpu.destroy();
  }
}

if (import.meta.main) {
  await runTask({
    name: "generate",
    summary: "Continues a prompt with a trained model.",
    options,
    examples: ['deno task generate --checkpoint runs/books --prompt "Once upon a time" --temperature 0.7'],
    main,
  });
}
