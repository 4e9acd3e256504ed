import { ok } from "node:assert/strict";
import { join } from "node:path";
import { writeSafetensors } from "../../checkpoint/safetensors/safetensors.ts";
import { requestGpu } from "../../gpu/device.ts";
import { modelFromConfig, modelPresets } from "../../models/load.ts";
import { hashCombine } from "../../ops/random.ts";
import type { HyperValues, OptimizerConfig } from "../../training/run/hyper_parameters.ts";
import { resolveOptimizer, runOptimizer } from "../../training/run/optimizer.ts";
import { OPTIMIZERS } from "../../training/run/optimizer_table.ts";
import { languageModelLoss, Trainer } from "../../training/step/trainer.ts";
import { runPython, whyNoPython } from "./python.ts";

const ignore = await whyNoPython() !== null;
const [B, T, STEPS, CLIP] = [4, 64, 20, 1];

/**
 * Largest accepted distance of any loss from PyTorch's, relative to it. f32 sums differ in their order, and
 * Lion takes the sign of values near 0, SOAP and KOALA++'s covariances
 * eigenvectors of nearly equal values, and PyTorch's Muon computes in bf16.
 */
const TOLERANCES: Readonly<Record<string, number>> = {
  "lion": 5e-3,
  "soap": 5e-3,
  "muon": 5e-3,
  "koala++ one-sided": 5e-3,
  "koala++ kronecker": 5e-3,
};
const TOLERANCE = 1e-4;

Deno.test({
  name: `every optimizer's losses over ${STEPS} steps of gpt2-nano are those of PyTorch`,
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    const gpu = await requestGpu();
    try {
      const model = modelFromConfig({ ...modelPresets["gpt2-nano"], vocab_size: 300 });
      const batches = Array.from({ length: STEPS }, (_, step) => sequences(step));
      const ours: Record<string, number[]> = {};
      const configs: Record<string, OptimizerConfig> = {};
      const runs: Record<string, [name: string, given?: HyperValues]> = {
        ...Object.fromEntries(Object.keys(OPTIMIZERS).map((name) => [name, [name]])),
        "koala++": ["koala++", { orthogonal: "none" }],
        "koala++ orthogonal": ["koala++"],
        "koala++ one-sided": ["koala++", { covariance: "one-sided" }],
        "koala++ kronecker": ["koala++", { covariance: "kronecker" }],
      };
      for (const [name, run] of Object.entries(runs)) {
        configs[name] = resolveOptimizer(...run);
        const trainer = await Trainer.create(gpu, {
          record: languageModelLoss(model, B, T),
          optimizer: runOptimizer({ optimizer: configs[name] }),
          clip: CLIP,
        });
        if (Object.keys(ours).length === 0) {
          await save(dir, model.config, await trainer.parameters.read(gpu), trainer);
        }
        for (const batch of batches) {
          const part = (start: number) =>
            Uint32Array.from(batch.flatMap((ids) => ids.slice(start, start + T)));
          trainer.step([{ tokens: part(0), targets: part(1) }]);
        }
        ours[name] = (await trainer.metrics()).map(({ loss }) => loss);
        trainer.destroy();
      }
      await Deno.writeTextFile(
        join(dir, "run.json"),
        JSON.stringify({ steps: batches, clip: CLIP, optimizers: configs }),
      );
      const output = join(dir, "python.json");
      await runPython(new URL("optimizers.py", import.meta.url), [dir, output]);
      const python: Record<string, number[]> = JSON.parse(await Deno.readTextFile(output));
      for (const [name, losses] of Object.entries(ours)) {
        const worst = losses.reduce(
          (m, loss, i) => Math.max(m, Math.abs(loss - python[name][i]) / python[name][i]),
          0,
        );
        const tolerance = TOLERANCES[name] ?? TOLERANCE;
        console.log(
          `${name}: ${losses[0].toFixed(4)} to ${losses.at(-1)!.toFixed(4)}, off by ${
            worst.toExponential(1)
          }`,
        );
        ok(
          worst <= tolerance,
          `${name}'s losses must be PyTorch's within ${tolerance}, got ${worst}: ${losses}`,
        );
        ok(losses.at(-1)! < losses[0], `${name} must lower the loss, got ${losses}`);
      }
    } finally {
      gpu.destroy();
      await Deno.remove(dir, { recursive: true });
    }
  },
});

/** Sequences that can be learned: each counts up from a random id in a random step. */
function sequences(step: number): number[][] {
  return Array.from({ length: B }, (_, row) => {
    const bits = hashCombine(step, row);
    return Array.from({ length: T + 1 }, (_, i) => (bits + i * (1 + bits % 7)) % 300);
  });
}

async function save(
  dir: string,
  config: Readonly<Record<string, unknown>>,
  weights: ReadonlyMap<string, Float32Array>,
  trainer: Trainer,
): Promise<void> {
  await Deno.writeTextFile(join(dir, "config.json"), JSON.stringify(config));
  await writeSafetensors(
    join(dir, "model.safetensors"),
    trainer.parameters.all.map(({ name, shape }) => {
      const values = weights.get(name)!;
      return {
        name,
        shape,
        dtype: "F32",
        data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
      };
    }),
    { format: "pt" },
  );
}
