/**
 * The model card of an exported model: the README.md that model hubs show, with the front matter that they read.
 *
 * @module
 */
import { basename, isAbsolute } from "node:path";
import { withoutSecrets } from "../files/address.ts";
import { formatCount } from "./progress.ts";
import type { RunLora } from "./run/config.ts";
import { recordedOptimizer } from "./run/recorded_config.ts";

/** What is known of the training run that made the model. */
export interface CardRun {
  /** The configuration, as run.json records it. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The adapter that it ran on. */
  readonly adapter?: string;
  /** Steps that were done. */
  readonly step: number;
}

/** What a model card says. */
export interface ModelCard {
  /** The model's name. */
  readonly name: string;
  /** Where it is on the hub, as `user/name`; default it stays a folder. */
  readonly repo?: string;
  /** The content of config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Number of parameters. */
  readonly parameters: number;
  /** Format of the weights, such as `bf16`. */
  readonly dtype: string;
  /** Licence identifier, such as `mit`; default none is stated. */
  readonly license?: string;
  /** Data sets by their names on the hub. */
  readonly datasets: readonly string[];
  /** The training run; default nothing is known. */
  readonly run?: CardRun;
  /** Evaluation on held-out text: loss, perplexity, bits_per_byte, tokens. */
  readonly evaluation?: Readonly<Record<string, unknown>>;
  /** File name of the picture of the losses; default there is none. */
  readonly lossCurve?: string;
}

type Row = readonly [label: string, value: unknown];

/** What is worth saying of a model, under each architecture's keys of config.json. */
const ARCHITECTURE: readonly (readonly [label: string, ...keys: string[]])[] = [
  ["Type", "model_type"],
  ["Layers", "n_layer", "num_hidden_layers"],
  ["Width", "n_embd", "hidden_size"],
  ["Heads", "n_head", "num_attention_heads"],
  ["Key and value heads", "num_key_value_heads"],
  ["Width of the MLP", "n_inner", "intermediate_size"],
  ["Longest sequence", "n_positions", "max_position_embeddings"],
  ["Vocabulary", "vocab_size"],
  ["Activation", "activation_function", "hidden_act", "afn"],
  ["Head tied to the embedding", "tie_word_embeddings"],
];

/** What is worth saying of a run's optimizer, by the names of its hyper-parameters. */
const OPTIMIZER: readonly (readonly [label: string, key: string])[] = [
  ["Optimizer", "name"],
  ["KOALA trains", "koala-scope"],
  ["Learning rate", "lr"],
  ["Learning rate of AdamW beside it", "adamw.lr"],
  ["Weight decay", "weight-decay"],
];

/** What else is worth saying of a run, by the keys of its configuration. */
const TRAINING: readonly (readonly [label: string, key: string])[] = [
  ["Schedule", "schedule"],
  ["Warm-up steps", "warmup"],
  ["Gradient clipping", "clip"],
  ["Tokens per sequence", "seqLen"],
  ["Sequences per micro-batch", "batchSize"],
  ["Micro-batches per step", "gradAccum"],
  ["Seed", "seed"],
];

/**
 * Writes a model card.
 *
 * @param card What it says.
 * @returns Markdown with YAML front matter.
 */
export function modelCard(card: ModelCard): string {
  const { name, config, parameters, run, evaluation } = card;
  const architecture: Row[] = ARCHITECTURE.map(([label, ...keys]) => [
    label,
    keys.map((key) => config[key]).find((value) => value !== undefined && value !== null),
  ]);
  const size: Row[] = [["Parameters", parameters.toLocaleString("en-US")], ["Weights", card.dtype]];
  const type = String(config.model_type ?? "language model");
  return [
    frontMatter(card),
    `# ${name}`,
    `A ${type} of ${formatCount(parameters)} parameters, ${
      run ? "trained" : "saved"
    } with koala-lm, which trains ` +
    "language models on Deno's WebGPU.",
    "## Use",
    usage(card),
    "## Architecture",
    table([...architecture, ...size]),
    ...(run ? ["## Training", training(run)] : []),
    ...(evaluation ? ["## Evaluation", "On held-out text:", table(evaluationRows(evaluation))] : []),
    ...(card.lossCurve ? [`![loss over the steps](${card.lossCurve})`] : []),
  ].join("\n\n") + "\n";
}

function frontMatter({ license, datasets, evaluation }: ModelCard): string {
  const list = (key: string, values: readonly string[]) =>
    values.length === 0 ? [] : [`${key}:`, ...values.map((value) => `- ${JSON.stringify(value)}`)];
  return [
    "---",
    "library_name: transformers",
    "pipeline_tag: text-generation",
    ...(license === undefined ? [] : [`license: ${JSON.stringify(license)}`]),
    ...list("datasets", datasets),
    ...list("tags", ["koala-lm"]),
    ...list("metrics", evaluation ? ["perplexity"] : []),
    "---",
  ].join("\n");
}

function usage({ name, repo }: ModelCard): string {
  return `\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer

path = ${repo === undefined ? `${JSON.stringify(name)}  # this folder` : JSON.stringify(repo)}
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path)
inputs = tokenizer("It was", return_tensors="pt")
tokens = model.generate(**inputs, max_new_tokens=100, do_sample=True)
print(tokenizer.decode(tokens[0]))
\`\`\``;
}

function training({ config, adapter, step }: CardRun): string {
  const optimizer = recordedOptimizer(config);
  const { seqLen, batchSize, gradAccum, steps } = config;
  const tokens = [step, seqLen, batchSize, gradAccum].reduce<number>((a, b) => a * Number(b), 1);
  return table([
    ["Data", sourceWords(config.data)],
    ["Held out", sourceWords(config.validationData) ?? percent(config.validationFraction)],
    ["Started from", typeof config.initFrom === "string" ? shortened(config.initFrom) : undefined],
    [
      "Embeddings from",
      typeof config.embeddingsFrom === "string" ? shortened(config.embeddingsFrom) : undefined,
    ],
    ["Embeddings", config.freezeEmbeddings === true ? "not trained" : undefined],
    ["LoRA", loraWords(config.lora)],
    ["Steps", steps === step || steps === undefined ? step : `${step} of ${steps}`],
    ["Tokens seen", Number.isFinite(tokens) ? formatCount(tokens) : undefined],
    ...OPTIMIZER.map(([label, key]): Row => [label, optimizer[key]]),
    ...TRAINING.map(([label, key]): Row => [label, config[key]]),
    ["Adapter", adapter],
  ]);
}

function loraWords(lora: unknown): string | undefined {
  if (typeof lora !== "object" || lora === null) return undefined;
  const { r, lora_alpha, target_modules } = lora as Partial<RunLora>;
  return `rank ${r}, alpha ${lora_alpha}, on ${target_modules?.join(", ")}`;
}

/** Where on its author's disk something was is nobody's business, nor with which key it was fetched. */
function shortened(path: string): string {
  return isAbsolute(path) ? basename(path) : withoutSecrets(path);
}

function sourceWords(sources: unknown): string | undefined {
  if (!Array.isArray(sources) || sources.length === 0) return undefined;
  return sources.map((source) => shortened(String(source))).join(", ");
}

function percent(share: unknown): string | undefined {
  return typeof share === "number" ? `${Number((share * 100).toFixed(2))}%` : undefined;
}

function evaluationRows(evaluation: Readonly<Record<string, unknown>>): Row[] {
  const fixed = (value: unknown, digits: number) =>
    typeof value === "number" ? value.toFixed(digits) : undefined;
  return [
    ["Loss", fixed(evaluation.loss, 4)],
    ["Perplexity", fixed(evaluation.perplexity, 2)],
    ["Bits per byte", fixed(evaluation.bits_per_byte, 4)],
    ["Tokens", typeof evaluation.tokens === "number" ? formatCount(evaluation.tokens) : undefined],
  ];
}

/** A table of what is known. */
function table(rows: readonly Row[]): string {
  const known = rows.filter(([, value]) => value !== undefined && value !== null);
  const cell = (value: unknown) => String(value).replaceAll("|", "\\|").replaceAll(/\s+/g, " ");
  return ["|  |  |", "| --- | --- |", ...known.map(([label, value]) => `| ${label} | ${cell(value)} |`)].join(
    "\n",
  );
}
