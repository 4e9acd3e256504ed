/**
 * The names of a model's tensors: one spelling for what Hugging Face has written in several over the years, and
 * a comparison of what a model needs with what a checkpoint has.
 *
 * @module
 */

/** How the tensors of one `model_type` are named. */
interface Naming {
  /** What the full model puts before the names of its base model. */
  readonly prefix: string;
  /** Names of the base model, without the prefix. */
  readonly base: RegExp;
  /** What old versions saved though it is no parameter. */
  readonly buffers: RegExp;
  /** The token embedding, which a tied head shares. */
  readonly embedding: string;
  /** The position embedding, of those that have one. */
  readonly positions?: string;
  /** Whether the head is tied when `config.json` does not say. */
  readonly tied: boolean;
  /** The weights of the blocks. */
  readonly blocks: RegExp;
  /** Whether the weights of linear layers lie as [in, out]; else as [out, in]. */
  readonly inOut: boolean;
}

const NAMINGS: ReadonlyMap<unknown, Naming> = new Map<unknown, Naming>([
  ["gpt2", {
    prefix: "transformer.",
    base: /^(wte|wpe|h|ln_f)\./,
    buffers: /\.attn\.(masked_)?bias$/,
    embedding: "transformer.wte.weight",
    positions: "transformer.wpe.weight",
    tied: true,
    blocks: /^transformer\.h\./,
    inOut: true,
  }],
  ["openai-gpt", {
    prefix: "transformer.",
    base: /^(tokens_embed|positions_embed|h)\./,
    buffers: /\.attn\.(masked_)?bias$|(^|\.)position_ids$/,
    embedding: "transformer.tokens_embed.weight",
    positions: "transformer.positions_embed.weight",
    tied: true,
    blocks: /^transformer\.h\./,
    inOut: true,
  }],
  ["llama", {
    prefix: "model.",
    base: /^(embed_tokens|layers|norm)\./,
    buffers: /(^|\.)rotary_emb\.(inv_freq|cos_cached|sin_cached)$/,
    embedding: "model.embed_tokens.weight",
    tied: false,
    blocks: /^model\.layers\./,
    inOut: false,
  }],
]);

const HEAD = "lm_head.weight";
const WEIGHT = ".weight";

/**
 * Maps the names by which a model knows its tensors to those by which a checkpoint does.
 *
 * A checkpoint of the base model lacks the prefix (`wte.weight` for `transformer.wte.weight`); old files of GPT and
 * GPT-2 hold causal masks (`h.0.attn.bias`); and a tied head may be saved beside the embedding, or in its place.
 *
 * @param names The checkpoint's names.
 * @param config The checkpoint's `config.json`; `model_type` and `tie_word_embeddings` matter. Names of models
 * of other types than `gpt2`, `openai-gpt` and `llama` are left as they are.
 * @returns The checkpoint's name by the model's name, in the order of `names`.
 * @throws {SyntaxError} If two of the checkpoint's tensors are the same tensor of the model.
 */
export function modelTensorNames(
  names: Iterable<string>,
  config: Readonly<Record<string, unknown>>,
): Map<string, string> {
  const result = new Map<string, string>();
  const naming = NAMINGS.get(config.model_type);
  for (const name of names) {
    if (naming?.buffers.test(name)) continue;
    const full = naming?.base.test(name) ? naming.prefix + name : name;
    const other = result.get(full);
    if (other !== undefined) {
      throw new SyntaxError(
        `A checkpoint must hold a tensor under one name, got ${full} as both ${other} and ${name}; remove one`,
      );
    }
    result.set(full, name);
  }
  const head = result.get(HEAD);
  const tied = config.tie_word_embeddings ?? naming?.tied;
  if (naming !== undefined && head !== undefined && tied === true) {
    result.delete(HEAD);
    if (!result.has(naming.embedding)) result.set(naming.embedding, head);
  }
  return result;
}

/** Names of a model's embeddings. */
export interface EmbeddingNames {
  /** Of the tokens. */
  readonly tokens: string;
  /** Of the positions; undefined where the model learns none. */
  readonly positions?: string;
}

/**
 * The names of a model's token and position embeddings.
 *
 * @param config Its `config.json`; `model_type` matters.
 * @throws {RangeError} If the model is of a type that is not supported.
 */
export function embeddingNames({ model_type: type }: Readonly<Record<string, unknown>>): EmbeddingNames {
  const naming = NAMINGS.get(type);
  if (naming !== undefined) return { tokens: naming.embedding, positions: naming.positions };
  throw new RangeError(
    `Embeddings can be taken from model_type ${[...NAMINGS.keys()].join(", ")}, got ${JSON.stringify(type)}`,
  );
}

/** A linear layer inside of a model's blocks. */
export interface LinearLayer {
  /** Its name, such as `model.layers.0.self_attn.q_proj`; its weight is the tensor `NAME.weight`. */
  readonly module: string;
  /** Number of inputs. */
  readonly inputs: number;
  /** Number of outputs. */
  readonly outputs: number;
  /** Whether its weight lies as [in, out], as GPT-2's; else as [out, in]. */
  readonly inOut: boolean;
}

/**
 * The linear layers inside of a model's blocks: neither embeddings nor the head.
 *
 * @param tensors The model's tensors by its own names, see {@linkcode modelTensorNames}.
 * @param config Its `config.json`; `model_type` matters. Models of other types than `gpt2`, `openai-gpt` and
 * `llama` have none.
 */
export function linearLayers(
  tensors: ReadonlyMap<string, FoundTensor>,
  config: Readonly<Record<string, unknown>>,
): LinearLayer[] {
  const naming = NAMINGS.get(config.model_type);
  if (naming === undefined) return [];
  const { blocks, inOut } = naming;
  return [...tensors].flatMap(([name, { shape }]) => {
    if (!blocks.test(name) || !name.endsWith(WEIGHT) || shape.length !== 2) return [];
    const [inputs, outputs] = inOut ? shape : [shape[1], shape[0]];
    return [{ module: name.slice(0, -WEIGHT.length), inputs, outputs, inOut }];
  });
}

/**
 * Whether the weights of a model's linear layers lie as [in, out], as those of GPT and GPT-2 do; else as [out, in].
 *
 * @param config Its `config.json`; `model_type` matters.
 */
export function liesInOut(config: Readonly<Record<string, unknown>>): boolean {
  return NAMINGS.get(config.model_type)?.inOut ?? false;
}

/** A tensor that a model needs. */
export interface ExpectedTensor {
  /** Its name. */
  readonly name: string;
  /** Sizes of its dimensions. */
  readonly shape: readonly number[];
}

/** A tensor that a checkpoint has. */
export interface FoundTensor {
  /** Sizes of its dimensions. */
  readonly shape: readonly number[];
  /** Element type. Default: one that a model can take. */
  readonly dtype?: string;
}

/** What keeps a checkpoint from being that of a model; all lists are empty when nothing does. */
export interface TensorDifferences {
  /** Names that the model needs and the checkpoint lacks. */
  readonly missing: readonly string[];
  /** Names that the checkpoint has and the model does not. */
  readonly extra: readonly string[];
  /** Tensors of another shape. */
  readonly reshaped: readonly { readonly name: string; readonly expected: string; readonly found: string }[];
  /** Tensors whose elements are not `F32`, `F16` or `BF16`, as in quantised checkpoints. */
  readonly retyped: readonly { readonly name: string; readonly dtype: string }[];
}

const FLOAT_DTYPES: ReadonlySet<string> = new Set(["F32", "F16", "BF16"]);

/**
 * Compares what a model needs with what a checkpoint has.
 *
 * @param expected The model's tensors.
 * @param found The checkpoint's tensors by the model's names, see {@linkcode modelTensorNames}.
 * @returns All differences.
 */
export function compareTensors(
  expected: readonly ExpectedTensor[],
  found: ReadonlyMap<string, FoundTensor>,
): TensorDifferences {
  const missing: string[] = [];
  const reshaped: { name: string; expected: string; found: string }[] = [];
  const retyped: { name: string; dtype: string }[] = [];
  const extra = new Set(found.keys());
  for (const { name, shape } of expected) {
    const tensor = found.get(name);
    extra.delete(name);
    if (tensor === undefined) {
      missing.push(name);
      continue;
    }
    const [wanted, got] = [shape, tensor.shape].map((sizes) => `[${sizes.join(", ")}]`);
    if (wanted !== got) reshaped.push({ name, expected: wanted, found: got });
    const { dtype = "F32" } = tensor;
    if (!FLOAT_DTYPES.has(dtype)) retyped.push({ name, dtype });
  }
  return { missing, extra: [...extra], reshaped, retyped };
}

/** How many names of a kind an error lists before it only counts. */
const LISTED = 20;

/**
 * Checks that a checkpoint holds exactly the tensors of a model.
 *
 * @param expected The model's tensors.
 * @param found The checkpoint's tensors by name.
 * @param words What to say of it otherwise. Default: that it is a checkpoint of another model.
 * @throws {TypeError} If any is missing, superfluous, of another shape or no tensor of floats; one error lists
 * them all by name (the first 20 of each kind).
 */
export function matchTensors(
  expected: readonly ExpectedTensor[],
  found: ReadonlyMap<string, FoundTensor>,
  words = {
    fault: "This is a checkpoint of another model",
    remedy: "use the model that its config.json describes",
  },
): void {
  const { missing, extra, reshaped, retyped } = compareTensors(expected, found);
  const problems = [
    listed("missing", missing),
    listed("not in the model", extra),
    listed("of another shape", reshaped.map((t) => `${t.name} ${t.found} instead of ${t.expected}`)),
    listed("not of F32, F16 or BF16", retyped.map((t) => `${t.name} of ${t.dtype}`)),
  ].filter((problem) => problem !== "");
  if (problems.length === 0) return;
  throw new TypeError(
    `${words.fault}: it must hold the model's ${expected.length} tensors, got ${
      problems.join("; ")
    }; ${words.remedy}`,
  );
}

function listed(kind: string, names: readonly string[]): string {
  if (names.length === 0) return "";
  const rest = names.length > LISTED ? ` and ${names.length - LISTED} more` : "";
  return `${names.length} ${kind} (${names.slice(0, LISTED).join(", ")}${rest})`;
}
