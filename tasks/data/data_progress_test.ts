import { deepEqual, equal, match, ok } from "node:assert/strict";
import { dataProgress } from "./data_progress.ts";

const CLEAR_LINE = "\r\x1b[2K";

/** A display on a clock that stands still, with what it wrote and said. */
function display(isTerminal: boolean, width = 80) {
  const [written, said]: string[][] = [[], []];
  const clock = { time: 0 };
  const writer = { isTerminal, write: (text: string) => void written.push(text), columns: () => width };
  const progress = dataProgress({ say: (line) => said.push(line), writer, now: () => clock.time });
  return { progress, written, said, clock };
}

Deno.test("dataProgress() redraws one line on a terminal, ten times a second at most", () => {
  const { progress, written, said, clock } = display(true);
  for (let i = 0; i <= 300; i++) {
    clock.time = i;
    progress.reading(i, 1_200_000);
  }
  deepEqual(written, [0, 100, 200, 300].map((i) => `${CLEAR_LINE}reading: ${i} documents, 1.2M bytes`));
  clock.time = 500;
  progress.merging(1000, 2000);
  clock.time = 1500;
  progress.merging(1500, 2000);
  match(written.at(-1)!.replace(CLEAR_LINE, ""), /^merging: 1500\/2000 .*█.* 75% +1s left$/);
  progress.clear();
  equal(written.at(-1), CLEAR_LINE);
  progress.clear();
  equal(written.length, 7, "nothing to take away");
  deepEqual(said, []);
});

Deno.test("dataProgress() never fills a narrow terminal's line", () => {
  const { progress, written, clock } = display(true, 20);
  for (const tell of [() => progress.reading(12345, 6e9), () => progress.merging(300, 65536)]) {
    clock.time += 100;
    tell();
    ok(written.at(-1)!.length - CLEAR_LINE.length < 20);
  }
  equal(written.length, 2);
});

Deno.test("dataProgress() says a line every ten seconds elsewhere", () => {
  const { progress, written, said, clock } = display(false);
  for (; clock.time <= 25_000; clock.time += 500) progress.reading(7, clock.time);
  deepEqual(said, ["reading: 7 documents, 10.0k bytes", "reading: 7 documents, 20.0k bytes"]);
  clock.time = 40_000;
  progress.merging(500, 1000);
  equal(said.at(-1), "merging: 500 of 1000 token ids");
  progress.clear();
  deepEqual(written, []);
});
