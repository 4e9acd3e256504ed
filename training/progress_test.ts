import { deepEqual, equal, ok } from "node:assert/strict";
import { createProgress, formatCount, formatDuration, type ProgressWriter, renderBar } from "./progress.ts";

/** A writer that remembers, and a clock that moves when told. */
function harness(isTerminal: boolean, columns = 80) {
  const written: string[] = [];
  const clock = { time: 0 };
  const writer: ProgressWriter = { isTerminal, write: (text) => written.push(text), columns: () => columns };
  return { written, clock, writer, now: () => clock.time };
}

Deno.test("formatDuration() gives at most two units", () => {
  const cases: [number, string][] = [
    [0, "0s"],
    [-3, "0s"],
    [0.4, "0s"],
    [59.4, "59s"],
    [59.6, "1m 00s"],
    [185, "3m 05s"],
    [3599.6, "1h 00m"],
    [7620, "2h 07m"],
    [86400 * 4 + 3600 * 3, "4d 03h"],
    [Infinity, "?"],
    [NaN, "?"],
  ];
  for (const [seconds, text] of cases) equal(formatDuration(seconds), text);
});

Deno.test("formatCount() keeps counts to a few characters, also where rounding carries", () => {
  const cases: [number, string][] = [
    [0, "0"],
    [7.4, "7"],
    [999, "999"],
    [999.6, "1.0k"],
    [1234, "1.2k"],
    [99_950, "100k"],
    [124_439_808, "124M"],
    [999_999, "1.0M"],
    [6.7e9, "6.7B"],
    [1.5e12, "1.5T"],
    [NaN, "?"],
  ];
  for (const [count, text] of cases) equal(formatCount(count), text);
});

Deno.test("renderBar() shows step, bar, percentage, loss, speed and time left", () => {
  const line = renderBar(
    { step: 50, totalSteps: 200, loss: 3.21449, tokensPerSecond: 12345, secondsLeft: 95 },
    120,
  );
  equal(line, ` 50/200  ${"█".repeat(10)}${"░".repeat(30)}   25%  loss 3.214  12.3k tok/s  1m 35s left`);
});

Deno.test("renderBar() says how much is done where nobody knows how much there is", () => {
  equal(
    renderBar({ step: 123456, loss: 3.2, tokensPerSecond: 12345 }, 100),
    "123k done  loss 3.200  12.3k tok/s",
  );
  equal(renderBar({ step: 123456, loss: 3.2, tokensPerSecond: 12345 }, 24), "123k done  loss 3.200");
});

Deno.test("renderBar() leaves out what is unknown", () => {
  equal(renderBar({ step: 1, totalSteps: 2 }, 21), "1/2  █████░░░░░   50%");
});

Deno.test("renderBar() never exceeds the width and keeps step and loss longest", () => {
  const state = { step: 5, totalSteps: 200, loss: 3.2, tokensPerSecond: 1e4, secondsLeft: 9 };
  for (let columns = 0; columns < 100; columns++) ok([...renderBar(state, columns)].length <= columns);
  equal(renderBar(state, 22), "  5/200  loss 3.200");
  equal(renderBar(state, 32), "  5/200  loss 3.200  9s left");
  equal(renderBar(state, 4), "  5/");
});

Deno.test("renderBar() fills nothing at the start and all at the end", () => {
  equal(renderBar({ step: 0, totalSteps: 9 }, 22).includes("█"), false);
  equal(renderBar({ step: 9, totalSteps: 9 }, 22).includes("░"), false);
  equal(renderBar({ step: 12, totalSteps: 9 }, 24).includes("░"), false);
});

Deno.test("on a terminal, updates within a tenth of a second draw once, and the last step always draws", () => {
  const { written, clock, writer, now } = harness(true);
  const progress = createProgress({ totalSteps: 100, writer, now });
  for (let step = 1; step <= 99; step++) {
    clock.time += 10;
    progress.update({ step });
  }
  equal(written.length, 10);
  progress.update({ step: 100 });
  equal(written.length, 11);
  ok(written.every((text) => text.startsWith("\r\x1b[2K") && !text.includes("\n")));
});

Deno.test("the time left follows the recent speed, not the slow first step", () => {
  const { written, clock, writer, now } = harness(true);
  const progress = createProgress({ totalSteps: 260, writer, now });
  clock.time = 60_000;
  for (let step = 1; step <= 200; step++) {
    clock.time += 500;
    progress.update({ step, loss: 1 });
  }
  ok(written.at(-1)!.endsWith("30s left"), written.at(-1));
});

Deno.test("a resumed run counts its time left from where it resumed", () => {
  const { written, clock, writer, now } = harness(true);
  const progress = createProgress({ totalSteps: 1000, writer, now });
  progress.update({ step: 900 });
  ok(!written.at(-1)!.includes("left"));
  clock.time += 1000;
  progress.update({ step: 901 });
  ok(written.at(-1)!.endsWith("1m 39s left"), written.at(-1));
});

Deno.test("a logged line stands above the bar, which is drawn again below it", () => {
  const { written, writer, now } = harness(true);
  const progress = createProgress({ totalSteps: 2, writer, now });
  progress.log("before");
  progress.update({ step: 1 });
  progress.log("hello");
  deepEqual(written.slice(0, 1), ["before\n"]);
  deepEqual(written.slice(2, 4), ["\r\x1b[2K", "hello\n"]);
  equal(written[4], written[1]);
  progress.clear();
  progress.log("after");
  deepEqual(written.slice(5), ["\r\x1b[2K", "after\n"]);
});

Deno.test("away from a terminal only the logged lines are written", () => {
  const { written, writer, now } = harness(false);
  const progress = createProgress({ totalSteps: 2, writer, now });
  progress.update({ step: 1, loss: 2 });
  progress.log("step 1  loss 2");
  progress.update({ step: 2, loss: 1 });
  progress.clear();
  deepEqual(written, ["step 1  loss 2\n"]);
});

Deno.test("logged lines go where the caller says", () => {
  const { written, writer, now } = harness(true);
  const lines: string[] = [];
  const progress = createProgress({ totalSteps: 2, writer, now, print: (line) => lines.push(line) });
  progress.update({ step: 1 });
  progress.log("hello");
  deepEqual(lines, ["hello"]);
  ok(written.every((text) => text.startsWith("\r\x1b[2K")));
});
