/**
 * Names that Hugging Face's libraries look for: the files of a model's folder and of an adapter's, and the token that
 * ends a text.
 *
 * @module
 */

/** The model's architecture and sizes. */
export const CONFIG_FILE = "config.json";
/** How texts are generated: sampling, and the tokens that end one. */
export const GENERATION_CONFIG_FILE = "generation_config.json";
/** The tokenizer itself. */
export const TOKENIZER_FILE = "tokenizer.json";
/** Which class opens it, and its special tokens. */
export const TOKENIZER_CONFIG_FILE = "tokenizer_config.json";
/** How a conversation becomes a text. */
export const CHAT_TEMPLATE_FILE = "chat_template.jinja";
/** The weights where one file holds them all. */
export const WEIGHTS_FILE = "model.safetensors";
/** Which shard holds which weights, where there are several. */
export const WEIGHTS_INDEX_FILE = "model.safetensors.index.json";
/** What kind of adapter it is, and of which model. */
export const ADAPTER_CONFIG_FILE = "adapter_config.json";
/** The adapter's own matrices. */
export const ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors";

/** The token that ends a text in GPT-2's vocabulary, and in those that are trained here. */
export const END_OF_TEXT = "<|endoftext|>" as const;
