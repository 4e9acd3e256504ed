/**
 * The `tokenizer.json` format of Hugging Face's tokenizers: its shape, its validation, and its text.
 *
 * @module
 */

/** A token that is found in text before anything else happens to it. */
export interface AddedToken {
  /** Its id. */
  id: number;
  /** Its text. */
  content: string;
  /** Whether it must stand between word boundaries; not supported. */
  single_word?: boolean;
  /** Whether it swallows white space to its left. */
  lstrip?: boolean;
  /** Whether it swallows white space to its right. */
  rstrip?: boolean;
  /** Whether it is looked for in normalised text. */
  normalized?: boolean;
  /** Whether it is a control token rather than text. */
  special?: boolean;
}

/** A step of a tokenizer, such as `{ type: "ByteLevel", add_prefix_space: false }`. */
export interface TokenizerStep {
  /** Which step. */
  type: string;
  /** Its settings. */
  [setting: string]: unknown;
}

/** The model of a tokenizer: its vocabulary and how words are cut into it. */
export interface TokenizerModel extends TokenizerStep {
  /** Tokens and ids (BPE, WordPiece), or tokens with scores in order of their ids (Unigram). */
  vocab: Record<string, number> | [string, number][];
  /** BPE's merges, first to last; older files write `"a b"` for `["a", "b"]`. */
  merges?: [string, string][] | string[];
}

/** A tokenizer, as `tokenizer.json` holds it. */
export interface TokenizerJson {
  /** The format's version. */
  version: string;
  /** Added tokens. */
  added_tokens: AddedToken[];
  /** What is done to text first. */
  normalizer: TokenizerStep | null;
  /** How text is cut into words. */
  pre_tokenizer: TokenizerStep | null;
  /** What is put around a text when special tokens are asked for. */
  post_processor: TokenizerStep | null;
  /** How tokens become text again. */
  decoder: TokenizerStep | null;
  /** The vocabulary. */
  model: TokenizerModel;
  /** Whatever else the file has, kept as it is. */
  [field: string]: unknown;
}

/** A vocabulary's tokens with their ids: the model's, and the added ones. */
export type TokenTable = Map<string, number>;

function fail(must: string, got: string): never {
  throw new SyntaxError(
    `Cannot use this tokenizer.json: ${must}, got ${got}; it may be damaged or of another format`,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value)?.slice(0, 60) ?? String(value);
}

const isId = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;

/**
 * Checks that a parsed `tokenizer.json` is whole and consistent: its steps are steps, ids are unique and
 * leave few gaps, merges only name tokens that exist, and added tokens agree with the vocabulary. Missing
 * steps and added tokens count as none.
 *
 * @param json The parsed file.
 * @returns The tokenizer, a shallow copy with missing fields filled in, and all its tokens with their ids.
 *
 * @throws {SyntaxError} On what is wrong, the first thing that is.
 */
export function checkTokenizerJson(json: unknown): { tokenizer: TokenizerJson; tokens: TokenTable } {
  if (!isObject(json)) fail("it must be a JSON object", show(json));
  const steps: Record<string, unknown> = {};
  for (const name of ["normalizer", "pre_tokenizer", "post_processor", "decoder"]) {
    const step = steps[name] = json[name] ?? null;
    if (step !== null && !(isObject(step) && typeof step.type === "string")) {
      fail(`${name} must be null or an object with a type`, show(step));
    }
  }
  const model = json.model;
  if (!isObject(model)) fail("model must be an object", show(model));
  const { type } = model;
  let tokens: TokenTable;
  if (type === "BPE" || type === "WordPiece") tokens = checkVocab(model.vocab);
  else if (type === "Unigram") tokens = checkUnigram(model.vocab);
  else fail("model.type must be BPE, WordPiece or Unigram", show(type));
  if (type === "BPE") checkMerges(model, tokens);
  const added = json.added_tokens ?? [];
  checkAddedTokens(added, tokens);
  checkIds(tokens);
  const tokenizer = {
    version: "1.0",
    ...json,
    ...steps,
    added_tokens: added,
    model,
  } as unknown as TokenizerJson;
  return { tokenizer, tokens };
}

function checkVocab(vocab: unknown): TokenTable {
  if (!isObject(vocab)) fail("model.vocab must be an object of tokens and ids", show(vocab));
  const tokens: TokenTable = new Map();
  const owners = new Map<number, string>();
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id)) fail(`the id of the token ${show(token)} must be an integer of at least 0`, show(id));
    const owner = owners.get(id);
    if (owner !== undefined) fail("ids must be unique", `${id} for both ${show(owner)} and ${show(token)}`);
    owners.set(id, token);
    tokens.set(token, id);
  }
  return tokens;
}

function checkUnigram(vocab: unknown): TokenTable {
  if (!Array.isArray(vocab)) fail("model.vocab of a Unigram model must be an array", show(vocab));
  const tokens: TokenTable = new Map();
  vocab.forEach((entry, id) => {
    if (!Array.isArray(entry) || typeof entry[0] !== "string" || typeof entry[1] !== "number") {
      fail(`model.vocab[${id}] must be a token and its score`, show(entry));
    }
    if (!tokens.has(entry[0])) tokens.set(entry[0], id);
  });
  return tokens;
}

function checkMerges(model: Record<string, unknown>, tokens: TokenTable): void {
  const { merges } = model;
  if (!Array.isArray(merges)) fail("model.merges must be an array", show(merges));
  const prefix = typeof model.continuing_subword_prefix === "string" ? model.continuing_subword_prefix : "";
  const strings = typeof merges[0] === "string";
  merges.forEach((merge, i) => {
    const pair = strings && typeof merge === "string" ? merge.split(" ") : merge;
    const wellFormed = Array.isArray(pair) && pair.length === 2 && pair.every((p) => typeof p === "string") &&
      strings === (typeof merge === "string");
    if (!wellFormed) {
      fail(
        `model.merges[${i}] must be two tokens, written as ${
          strings ? '"a b"' : '["a", "b"]'
        } like the first`,
        show(merge),
      );
    }
    const [a, b] = pair as [string, string];
    const joined = a + (b.startsWith(prefix) ? b.slice(prefix.length) : b);
    for (const token of [a, b, joined]) {
      if (!tokens.has(token)) {
        fail(
          `model.merges[${i}] must join two tokens of model.vocab to a third`,
          `${show(merge)} without ${show(token)}`,
        );
      }
    }
  });
}

/** Also enters them into the table. */
function checkAddedTokens(added: unknown, tokens: TokenTable): void {
  if (!Array.isArray(added)) fail("added_tokens must be an array", show(added));
  const owners = new Map([...tokens].map(([token, id]) => [id, token]));
  const seen = new Set<string>();
  added.forEach((token, i) => {
    if (!isObject(token) || typeof token.content !== "string" || token.content === "" || !isId(token.id)) {
      fail(`added_tokens[${i}] must have a content and an id`, show(token));
    }
    const { content, id } = token;
    if (seen.has(content)) fail("added tokens must be unique", `${show(content)} twice`);
    seen.add(content);
    const known = tokens.get(content);
    if (known !== undefined && known !== id) {
      fail(`the added token ${show(content)} must have the id of the vocabulary, ${known}`, show(id));
    }
    const owner = owners.get(id);
    if (owner !== undefined && owner !== content) {
      fail("ids must be unique", `${id} for both ${show(owner)} and ${show(content)}`);
    }
    // Python would honour it and the JavaScript library would not: other ids, without a word.
    if (token.single_word === true) {
      fail(`single_word is not supported on added tokens`, `it on ${show(content)}`);
    }
    owners.set(id, content);
    tokens.set(content, id);
  });
}

function checkIds(tokens: TokenTable): void {
  if (tokens.size === 0) fail("it must have tokens", "none");
  let highest = 0;
  for (const id of tokens.values()) highest = Math.max(highest, id);
  // The embedding has a row for every id up to the highest, so a stray one would make it huge.
  if (highest >= 2 * tokens.size + 256) {
    fail("ids must leave few gaps", `${tokens.size} tokens with ids up to ${highest}`);
  }
}

/**
 * Writes a tokenizer as Hugging Face's library saves it: indented by two, the vocabulary in the order of its
 * ids (`JSON.stringify` would put tokens that look like numbers first).
 *
 * @param tokenizer The tokenizer.
 * @returns The text of a `tokenizer.json`, without a line end.
 */
export function formatTokenizerJson(tokenizer: TokenizerJson): string {
  const { vocab } = tokenizer.model;
  if (Array.isArray(vocab)) return JSON.stringify(tokenizer, null, 2);
  // A property named by a random number cannot also be a token.
  const mark = `vocab-${crypto.randomUUID()}`;
  const text = JSON.stringify({ ...tokenizer, model: { ...tokenizer.model, vocab: mark } }, null, 2);
  const lines = Object.entries(vocab).sort((a, b) => a[1] - b[1])
    .map(([token, id]) => `      ${JSON.stringify(token)}: ${id}`);
  const body = lines.length === 0 ? "{}" : `{\n${lines.join(",\n")}\n    }`;
  return text.replace(`"${mark}"`, () => body);
}
