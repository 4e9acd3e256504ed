import { equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { requestGpu } from "../../gpu/device.ts";
import { runTask } from "../cli.ts";

const gpu = await requestGpu();
const ignore = !gpu.profile.halfPrecision;
gpu.destroy();

Deno.test(
  "200 steps of the default run with f16 end within 1% of the loss with f32",
  { ignore },
  async () => {
    const dir = await Deno.makeTempDir();
    try {
      const losses = [];
      for (const precision of ["f32", "f16"]) {
        const folders = ["--out", join(dir, precision), "--cache", join(dir, "cache")];
        const options = ["--steps", "200", "--sample-tokens", "0", "--precision", precision, ...folders];
        const { code, stdout, stderr } = await runTask("train-lm", [...options, "--json"]);
        equal(code, 0, stderr);
        losses.push(JSON.parse(stdout).validation.loss);
      }
      const [full, half] = losses;
      ok(full < 5, `the loss must fall from 7.6, got ${full}`);
      ok(Math.abs(half / full - 1) < 0.01, `${half} instead of ${full}`);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
);
