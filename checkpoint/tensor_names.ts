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
  /** The embedding that a tied head shares. */
  readonly embedding: string;
  /** Whether the head is tied when `config.json` does not say. */
  readonly tied: boolean;
}

const NAMINGS: ReadonlyMap<unknown, Naming> = new Map([
  ["gpt2", {
    prefix: "transformer.",
    base: /^(wte|wpe|h|ln_f)\./,
    buffers: /\.attn\.(masked_)?bias$/,
    embedding: "transformer.wte.weight",
    tied: true,
  }],
  ["llama", {
    prefix: "model.",
    base: /^(embed_tokens|layers|norm)\./,
    buffers: /\.rotary_emb\.inv_freq$/,
    embedding: "model.embed_tokens.weight",
    tied: false,
  }],
]);

const HEAD = "lm_head.weight";

/**
 * Maps the names by which a model knows its tensors to those by which a checkpoint does.
 *
 * A checkpoint of the base model lacks the prefix (`wte.weight` for `transformer.wte.weight`); old GPT-2 files
 * hold causal masks (`h.0.attn.bias`); and a tied head may be saved beside the embedding, or in its place.
 *
 * @param names The checkpoint's names.
 * @param config The checkpoint's `config.json`; `model_type` and `tie_word_embeddings` matter. Names of models
 * other than `gpt2` and `llama` are left as they are.
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

/** How many names of a kind an error lists before it only counts. */
const LISTED = 20;

/**
 * Checks that a checkpoint holds exactly the tensors of a model.
 *
 * @param expected The model's tensors.
 * @param found The checkpoint's tensors by name.
 * @throws {TypeError} If any is missing, superfluous or of another shape; one error lists them all by name (the
 * first 20 of each kind).
 */
export function matchTensors(
  expected: readonly { readonly name: string; readonly shape: readonly number[] }[],
  found: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): void {
  const missing: string[] = [];
  const reshaped: string[] = [];
  const extra = new Set(found.keys());
  for (const { name, shape } of expected) {
    const tensor = found.get(name);
    extra.delete(name);
    if (tensor === undefined) missing.push(name);
    else if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
      reshaped.push(`${name} [${tensor.shape.join(", ")}] instead of [${shape.join(", ")}]`);
    }
  }
  const problems = [
    listed("missing", missing),
    listed("not in the model", [...extra]),
    listed("of another shape", reshaped),
  ].filter((problem) => problem !== "");
  if (problems.length === 0) return;
  throw new TypeError(
    `This is a checkpoint of another model: it must hold the model's ${expected.length} tensors, ` +
      `got ${problems.join("; ")}; use the model that its config.json describes`,
  );
}

function listed(kind: string, names: readonly string[]): string {
  if (names.length === 0) return "";
  const rest = names.length > LISTED ? ` and ${names.length - LISTED} more` : "";
  return `${names.length} ${kind} (${names.slice(0, LISTED).join(", ")}${rest})`;
}
