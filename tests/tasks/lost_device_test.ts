/** A device that is lost ends a task with what to do, and costs no more than the steps since the last checkpoint. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { filesIn, refused, runTask, sameWeights, tinyRun } from "../cli.ts";

const loseDevice = `--preload=${fileURLToPath(new URL("../lose_device.ts", import.meta.url))}`;

Deno.test("train-lm on a device that is lost names the last checkpoint, and --resume ends as if nothing had been", async () => {
  await using tiny = await tinyRun();
  const [lost, whole] = ["lost", "whole"].map((name) => join(tiny.dir, name));
  const options = [...tiny.options, "--no-autotune"];
  const ended = await runTask("train-lm", [...options, "--out", lost], {}, [loseDevice]);
  refused(
    ended,
    1,
    /^error: The device .* was lost \(.*\): its driver reset it .* a smaller --batch-size \(now 4\)/m,
  );
  const [last, ...others] = await filesIn(join(lost, "checkpoints"));
  ok(/^step-000000(04|08|12|16|20)$/.test(last) && others.length <= 1, `${[last, ...others]}`);
  const newest = others[0] ?? last;
  ok(
    ended.stderr.includes(
      `The last checkpoint is ${join(lost, "checkpoints", newest)}; go on from it with --resume ${lost}`,
    ),
  );

  equal((await runTask("train-lm", ["--resume", lost])).code, 0);
  equal((await runTask("train-lm", [...options, "--out", whole])).code, 0);
  await sameWeights(lost, whole);
});

Deno.test("a device that is lost before there is a checkpoint leaves nothing that looks finished", async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "lost");
  const args = [...tiny.options, "--no-autotune", "--save-every", "0", "--out", out];
  refused(
    await runTask("train-lm", args, {}, [loseDevice]),
    1,
    /There was no checkpoint yet; a lower --save-every/,
  );
  deepEqual((await filesIn(out)).filter((name) => name.startsWith("checkpoints")), []);
});
