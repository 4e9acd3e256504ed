import assert from "node:assert/strict";
import { join } from "node:path";
import { openMetricsFile, readMetricsFile } from "./metrics_file.ts";
import { inTempDir } from "../../tests/temporary_files.ts";

Deno.test("append() writes one line of JSON per record, in the order of the calls", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "metrics.jsonl");
    using metrics = await openMetricsFile(path);
    const records = Array.from({ length: 20 }, (_, step) => ({ step, text: "a\nb" }));
    await Promise.all(records.map((record) => metrics.append(record)));
    await metrics.append({ step: 20, loss: NaN, gradientNorm: Infinity, lr: 0.1 });
    await metrics.flush();
    assert.deepEqual(await readMetricsFile(path), [...records, {
      step: 20,
      loss: null,
      gradientNorm: null,
      lr: 0.1,
    }]);
    assert.equal((await Deno.readTextFile(path)).split("\n").length, 22);
    await assert.rejects(metrics.append({ step: 1, n: 1n }), /TypeError: .*"n".*got 1/);
  }));

Deno.test("openMetricsFile() drops the lines after the resumed step and a torn last line", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "metrics.jsonl");
    const lines = '{"step":1}\n{"step":2,"eval":true}\n{"step":2}\n{"step":3}\n';
    for (
      const [content, step, kept] of [
        ["", 2, ""],
        [lines, 2, '{"step":1}\n{"step":2,"eval":true}\n{"step":2}\n'],
        [lines, -1, ""],
        [lines, undefined, lines],
        [lines + '{"step":4,"lo', undefined, lines],
        [lines + '{"step":4,"lo', 1, '{"step":1}\n'],
        [lines + "\0\0\0", undefined, lines],
        [lines + '{"step":4}', undefined, lines + '{"step":4}\n'],
      ] as const
    ) {
      await Deno.writeTextFile(path, content);
      (await openMetricsFile(path, step)).close();
      assert.equal(await Deno.readTextFile(path), kept);
    }
  }));

Deno.test("a resumed metrics file goes on after the kept lines", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "metrics.jsonl");
    await Deno.writeTextFile(path, '{"step":1}\n{"step":2}\n{"st');
    using metrics = await openMetricsFile(path, 1);
    await metrics.append({ step: 2, again: true });
    assert.deepEqual(await readMetricsFile(path), [{ step: 1 }, { step: 2, again: true }]);
  }));

Deno.test("openMetricsFile() rejects a file that is no metrics file and leaves it as it is", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "metrics.jsonl");
    for (const line of ["# notes", '{"loss":1}', "null", '{"step":1.5}', ""]) {
      const content = `{"step":1}\n${line}\n{"step":2}\n`;
      await Deno.writeTextFile(path, content);
      await assert.rejects(
        openMetricsFile(path, 0),
        /SyntaxError: .*metrics\.jsonl: line 2 must be a JSON object/,
      );
      assert.equal(await Deno.readTextFile(path), content);
    }
    await assert.rejects(
      openMetricsFile(join(dir, "none", "m")),
      /NotFound: .*Cannot write .*check that the path/,
    );
    await assert.rejects(readMetricsFile(join(dir, "none")), Deno.errors.NotFound);
  }));
