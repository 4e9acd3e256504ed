/**
 * Token ids to text while they come: whole characters only, and nothing of a string at which the text ends. No GPU.
 *
 * @module
 */
import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";

/** Text of a sequence that grows. */
export class TextStream {
  readonly #tokenizer: Pick<Tokenizer, "decode">;
  readonly #stop: readonly string[];
  readonly #ids: number[];
  /** Where decoding begins: some ids before the new ones, since a token may look otherwise at a text's beginning. */
  #from = 0;
  /** How many ids' text was taken. */
  #taken: number;
  /** Text that may be the beginning of a stop string. */
  #held = "";
  #stopped = false;

  /**
   * Starts after a prompt, whose text is not given again.
   *
   * @param tokenizer Decodes.
   * @param prompt Ids before the first that is pushed.
   * @param stop The text ends before the first of these; none is empty.
   */
  constructor(
    tokenizer: Pick<Tokenizer, "decode">,
    prompt: readonly number[] = [],
    stop: readonly string[] = [],
  ) {
    this.#tokenizer = tokenizer;
    this.#ids = [...prompt];
    this.#taken = prompt.length;
    this.#stop = stop;
  }

  /** Whether a stop string was found. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /**
   * Adds a token.
   *
   * @param id Its id.
   * @returns What may be shown now: perhaps nothing, since special tokens have no text, and what may yet become
   * another character or a stop string has to wait.
   */
  push(id: number): string {
    this.#ids.push(id);
    return this.#take(false);
  }

  /** Ends the sequence: the text that had to wait. */
  end(): string {
    return this.#take(true);
  }

  #take(all: boolean): string {
    if (this.#stopped) return "";
    this.#held += this.#newText(all);
    const found = this.#stop.map((text) => this.#held.indexOf(text)).filter((at) => at >= 0);
    this.#stopped = found.length > 0;
    const end = this.#stopped
      ? Math.min(...found)
      : all
      ? this.#held.length
      : this.#held.length - beginningAtEnd(this.#held, this.#stop);
    const text = this.#held.slice(0, end);
    this.#held = this.#held.slice(end);
    return text;
  }

  /** Text of the ids that were not taken yet. */
  #newText(all: boolean): string {
    const decode = (end?: number) =>
      this.#tokenizer.decode(this.#ids.slice(this.#from, end), { skipSpecialTokens: true });
    const [known, text] = [decode(this.#taken), decode()];
    // A character whose last bytes have not come decodes as U+FFFD.
    if (text.length <= known.length || (!all && text.endsWith("\uFFFD"))) return "";
    // What was known may have no text, and then it would not do to begin with.
    if (known !== "") this.#from = this.#taken;
    this.#taken = this.#ids.length;
    return text.slice(known.length);
  }
}

/** Length of the longest end of a text with which one of the strings begins. */
function beginningAtEnd(text: string, strings: readonly string[]): number {
  const lengths = strings.map((string) => {
    let length = Math.min(string.length - 1, text.length);
    while (!string.startsWith(text.slice(text.length - length))) length--;
    return length;
  });
  return Math.max(0, ...lengths);
}
