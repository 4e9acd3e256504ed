import { deepEqual, equal } from "node:assert/strict";
import { TextStream } from "./text_stream.ts";

/** A byte is a token; 0 is special, and like some tokenizers this one drops a space at the beginning. */
const tokenizer = {
  decode(ids: Iterable<number>): string {
    return new TextDecoder().decode(Uint8Array.from(ids).filter((id) => id !== 0)).replace(/^ /, "");
  },
};

const bytes = (text: string) => [...new TextEncoder().encode(text)];

/** The pieces that were shown for a text, and whether a stop string was found. */
function stream(text: string, stop: readonly string[] = [], prompt = "p") {
  const stream = new TextStream(tokenizer, bytes(prompt), stop);
  const pieces: string[] = [];
  for (const id of bytes(text)) {
    pieces.push(stream.push(id));
    if (stream.stopped) break;
  }
  pieces.push(stream.end());
  return { pieces: pieces.filter((piece) => piece !== ""), stopped: stream.stopped };
}

Deno.test("pieces are whole characters and add up to the text", () => {
  const text = " Zoë paid 5 € 😀.";
  deepEqual(stream(text).pieces, [...text]);
  deepEqual(stream("é", [], "").pieces, ["é"]);
});

Deno.test("bytes that never become a character are shown once it is certain", () => {
  const stream = new TextStream(tokenizer, [65]);
  deepEqual([0xe2, 0x82, 66, 0xc3].map((id) => stream.push(id)), ["", "", "\uFFFDB", ""]);
  equal(stream.end(), "\uFFFD");
});

Deno.test("special tokens have no text, and the space after them stays where there was text before", () => {
  const after = (prompt: number[]) => {
    const stream = new TextStream(tokenizer, prompt);
    return [0, 0, 32, 65].map((id) => stream.push(id)).join("") + stream.end();
  };
  equal(after(bytes("a")), " A");
  equal(after([0]), "A");
});

Deno.test("text ends before a stop string, of which nothing is shown", () => {
  deepEqual(stream("one\ntwo\n\nthree", ["\n\n"]), {
    pieces: ["o", "n", "e", "\nt", "w", "o"],
    stopped: true,
  });
  deepEqual(stream("aaab", ["aab"]), { pieces: ["a"], stopped: true });
  deepEqual(stream("x stop", ["stop", "x s"]), { pieces: [], stopped: true });
  deepEqual(stream("to be", ["b€"]), { pieces: ["t", "o", " ", "be"], stopped: false });
  deepEqual(stream("end b", ["b€"]).pieces.join(""), "end b");
  deepEqual(stream("€uro", ["€"]), { pieces: [], stopped: true });
});

Deno.test("a stop string is found within a token and not in the prompt", () => {
  const words = {
    decode: (ids: Iterable<number>) => [...ids].map((id) => ["stop", "a st", "op b"][id]).join(""),
  };
  const stream = new TextStream(words, [0], ["stop"]);
  deepEqual([stream.push(1), stream.stopped, stream.push(2), stream.stopped], ["a ", false, "", true]);
  equal(stream.push(1) + stream.end(), "");
});
