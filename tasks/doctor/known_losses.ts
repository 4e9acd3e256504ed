/**
 * Whether an adapter trains as others do: losses of tiny models that are known.
 *
 * Shapes fit no tile and no workgroup. The losses come from Mesa's software adapter, on which the same models and
 * optimizers are tested against PyTorch.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import { modelFromConfig } from "../../models/load.ts";
import { hashCombine } from "../../ops/random.ts";
import { adamw } from "../../optim/adamw.ts";
import { koalaPlusPlus } from "../../optim/koala/koala_plus_plus.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import { languageModelLoss, Trainer } from "../../training/step/trainer.ts";

/** A comparison of losses. */
export interface LossCheck {
  /** The model and the optimizer. */
  readonly name: string;
  /** Losses of the steps on this adapter. */
  readonly losses: readonly number[];
  /** Those that are known. */
  readonly known: readonly number[];
  /** The largest difference; null where a loss is no number. */
  readonly distance: number | null;
  /** Whether that is at most 1e-3, what PyTorch's losses are held to. */
  readonly passed: boolean;
}

const TOLERANCE = 1e-3;
const [BATCH, LENGTH, VOCABULARY] = [3, 21, 131];

interface Case {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly optimizer: () => Optimizer;
  readonly known: readonly number[];
}

const CASES: readonly Case[] = [
  {
    name: "GPT-2 with AdamW",
    config: { model_type: "gpt2", n_positions: 32, n_embd: 36, n_layer: 2, n_head: 3 },
    optimizer: () => adamw({ lr: 3e-3 }),
    known: [4.887363, 4.608838, 4.438451, 4.309805, 4.1998549, 4.0947528],
  },
  {
    name: "Llama with KOALA++",
    config: {
      model_type: "llama",
      max_position_embeddings: 32,
      hidden_size: 48,
      intermediate_size: 100,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
    },
    optimizer: () => koalaPlusPlus(),
    known: [4.8746867, 4.8151326, 4.7465048, 4.6795126, 4.6174033, 4.5578496],
  },
];

/**
 * Trains the tiny models for a few steps.
 *
 * @param gpu The device.
 * @throws {GpuError} If the device reported an error.
 */
export async function checkKnownLosses(gpu: Gpu): Promise<LossCheck[]> {
  const checks: LossCheck[] = [];
  for (const { name, config, optimizer, known } of CASES) {
    const model = modelFromConfig({ ...config, vocab_size: VOCABULARY });
    const trainer = await Trainer.create(gpu, {
      record: languageModelLoss(model, BATCH, LENGTH),
      optimizer: optimizer(),
    });
    try {
      const ids = (stream: number) =>
        Uint32Array.from({ length: BATCH * LENGTH }, (_, i) => hashCombine(stream, i) % VOCABULARY);
      for (const _ of known) trainer.step([{ tokens: ids(0), targets: ids(1) }]);
      const losses = (await trainer.metrics()).map(({ loss }) => loss);
      const distance = Math.max(...losses.map((loss, i) => Math.abs(loss - known[i])));
      checks.push({
        name,
        losses,
        known,
        distance: Number.isFinite(distance) ? distance : null,
        passed: distance <= TOLERANCE,
      });
    } finally {
      trainer.destroy();
    }
  }
  return checks;
}
