import { deepEqual, equal, ok } from "node:assert/strict";
import { join } from "node:path";
import type { AdapterConfig } from "../../checkpoint/adapter/config.ts";
import {
  type AdapterFolder,
  readAdapterFolder,
  writeAdapterFolder,
} from "../../checkpoint/adapter/folder.ts";
import { fromFloat32 } from "../../checkpoint/safetensors/float_formats.ts";
import { type ModelFolder, readModelFolder } from "../../checkpoint/hugging_face.ts";
import { openModel } from "../../checkpoint/open_model.ts";
import type { FloatTensors } from "../../checkpoint/safetensors/safetensors.ts";
import type { LinearLayer } from "../../checkpoint/tensor_names.ts";
import { weightsDigest } from "../../checkpoint/weights_digest.ts";
import type { Gpu } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import { compileProgram } from "../../gpu/program.ts";
import { defaultLoraTargets, modelFromConfig, modelPresets } from "../../models/load.ts";
import type { LanguageModel } from "../../models/model.ts";
import { fillNormal } from "../../ops/random.ts";
import { adamw } from "../../optim/adamw.ts";
import { koalaPlusPlus } from "../../optim/koala/koala_plus_plus.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import { hiddenMatrices, partition } from "../../optim/partition.ts";
import { relativeDistance, testGpu } from "../../tests/check_op.ts";
import { goldenPath } from "../../tests/golden.ts";
import { Generator } from "../generate/generation.ts";
import { declareParameters, loadParameters, loadTensors } from "./load_weights.ts";
import { adapterLayers } from "./lora.ts";
import { recordStep } from "../step/recording.ts";
import { languageModelLoss, Trainer } from "../step/trainer.ts";

const [BATCH, LENGTH] = [2, 12];

/** A golden model and an adapter of random matrices, each in a folder of its own. */
interface Adapted extends AsyncDisposable {
  readonly base: ModelFolder;
  readonly adapter: AdapterFolder;
  readonly layers: readonly LinearLayer[];
  /** With frozen weights and adapters. */
  readonly model: LanguageModel;
  /** Both files' tensors. */
  readonly all: FloatTensors;
}

async function adapted(name: string, keys: Partial<AdapterConfig>): Promise<Adapted> {
  const base = await readModelFolder(goldenPath(`${name}/`)!);
  const config: AdapterConfig = {
    r: 3,
    lora_alpha: 6,
    lora_dropout: 0,
    use_rslora: false,
    target_modules: ["c_attn"],
    base_model_name_or_path: base.path,
    ...keys,
  };
  const model = modelFromConfig(base.config, adapterLayers(config));
  const tensors = declareParameters(model).all.filter((p) => p.trainable).map(({ name, shape }, i) => {
    const values = new Float32Array(shape[0] * shape[1]);
    fillNormal(values, i, 0.1);
    return { name, dtype: "F32" as const, shape, data: fromFloat32("F32", values) };
  });
  const dir = await Deno.makeTempDir();
  const baseWeights = await weightsDigest(base);
  await writeAdapterFolder(dir, { config: base.config, adapter: config, baseWeights, tensors });
  const adapter = await readAdapterFolder(dir);
  const all: FloatTensors = {
    tensors: new Map([...base.tensors, ...adapter.tensors]),
    piecesF32: (name) => (adapter.tensors.has(name) ? adapter : base).piecesF32(name),
  };
  return {
    ...{ base, adapter, model, all, layers: adapter.layersOf(base) },
    async [Symbol.asyncDispose]() {
      base.close();
      adapter.close();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

function batch(vocabSize: number, step = 0) {
  const tokens = Uint32Array.from({ length: BATCH * LENGTH }, (_, i) => (i * 7 + step * 5) % vocabSize);
  return { tokens, targets: tokens.map((id) => (id * 3 + 1) % vocabSize) };
}

/** The gradient of every parameter that has one. */
async function gradients(
  gpu: Gpu,
  model: LanguageModel,
  source: FloatTensors,
  recompute: boolean,
): Promise<Map<string, Float32Array>> {
  const g = new Graph({ profile: gpu.profile, training: true, recompute });
  languageModelLoss(model, BATCH, LENGTH)(g);
  g.backward();
  const [segments] = g.beginUpdate([g.parameters.all]);
  await g.parameters.allocate(gpu, 0);
  await loadTensors(gpu, g.parameters.all, source);
  const program = await compileProgram(gpu, g);
  const { tokens, targets } = batch(model.vocabSize);
  program.write("tokens", tokens);
  program.write("targets", targets);
  program.run();
  const result = new Map<string, Float32Array>();
  for (const segment of segments) {
    const [values] = await program.read(segment.gradients);
    for (const { item, start, size } of segment.items) {
      result.set(item.name, values.slice(start, start + size));
    }
  }
  program.destroy();
  g.parameters.destroy();
  return result;
}

const cases: readonly (readonly [name: string, keys: Partial<AdapterConfig>])[] = [
  ["gpt2", { target_modules: ["c_attn"] }],
  ["gpt2", { target_modules: ["c_proj", "mlp.c_fc"], r: 4, use_rslora: true }],
  ["openai_gpt", { target_modules: ["c_attn", "mlp.c_proj"] }],
  ["llama", { target_modules: ["q_proj", "v_proj"] }],
  ["llama", { target_modules: ["k_proj"], r: 1 }],
  ["llama", { target_modules: ["model.layers.1.mlp.gate_proj", "down_proj"] }],
];

for (const [name, keys] of cases) {
  const what = `${name}'s ${keys.target_modules}`;
  Deno.test(`gradients of adapters on ${what} follow from those of the merged weights`, async () => {
    const gpu = await testGpu();
    await using a = await adapted(name, keys);
    const { adapter: { adapter: config } } = a;
    using merged = await openModel(a.adapter.path);
    const whole = await gradients(gpu, modelFromConfig(a.base.config), merged, false);
    const scale = config.lora_alpha / (config.use_rslora ? Math.sqrt(config.r) : config.r);
    for (const recompute of [false, true]) {
      const found = await gradients(gpu, a.model, a.all, recompute);
      equal(found.size, 2 * a.layers.length);
      ok(found.size >= 2);
      for (const { module, inputs, outputs, inOut } of a.layers) {
        const g = whole.get(`${module}.weight`)!;
        const at = (o: number, i: number) => g[inOut ? i * outputs + o : o * inputs + i];
        const A = await a.adapter.readF32(`${module}.lora_A.weight`);
        const B = await a.adapter.readF32(`${module}.lora_B.weight`);
        const dA = new Float64Array(A.length); // s B^T G
        const dB = new Float64Array(B.length); // s G A^T
        for (let o = 0; o < outputs; o++) {
          for (let i = 0; i < inputs; i++) {
            for (let k = 0; k < config.r; k++) {
              dA[k * inputs + i] += scale * B[o * config.r + k] * at(o, i);
              dB[o * config.r + k] += scale * at(o, i) * A[k * inputs + i];
            }
          }
        }
        for (const [matrix, wanted] of [["A", dA], ["B", dB]] as const) {
          const distance = relativeDistance(found.get(`${module}.lora_${matrix}.weight`)!, wanted);
          // As PyTorch's gradients in the golden tests: two ways of summing in float32.
          ok(distance <= 1e-3, `the gradient of ${module}'s ${matrix} is off by ${distance}`);
        }
      }
    }
  });

  Deno.test(`an adapter on ${what} gives the logits of the merged weights within 1e-4`, async () => {
    const gpu = await testGpu();
    await using a = await adapted(name, keys);
    using merged = await openModel(a.adapter.path);
    const logits = async (model: LanguageModel, source: FloatTensors) => {
      const parameters = await loadParameters(gpu, model, source);
      const generator = await Generator.create(gpu, model, parameters);
      const values = await generator.logits([...batch(model.vocabSize).tokens.slice(0, LENGTH)]);
      generator.destroy();
      parameters.destroy();
      return values;
    };
    const plain = modelFromConfig(a.base.config);
    const [own, other, without] = [
      await logits(a.model, a.all),
      await logits(plain, merged),
      await logits(plain, a.base),
    ];
    const worst = (x: Float32Array) => own.reduce((m, z, i) => Math.max(m, Math.abs(z - x[i])), 0);
    ok(worst(other) <= 1e-4, `${worst(other)}`);
    ok(worst(without) > 1e-2, "the adapter must change something");
  });
}

const optimizers: Readonly<Record<string, () => Optimizer>> = { "KOALA++": koalaPlusPlus, AdamW: adamw };

for (const [name, optimizer] of Object.entries(optimizers)) {
  Deno.test(`${name} trains adapters, lowers the loss and leaves every other weight as it was`, async () => {
    const gpu = await testGpu();
    await using a = await adapted("llama", { target_modules: ["q_proj", "v_proj"], lora_dropout: 0.1 });
    const trainer = await Trainer.create(gpu, {
      record: languageModelLoss(a.model, BATCH, LENGTH),
      // As a run has them: no second optimizer takes what the first does not own.
      optimizer: partition([{ owns: hiddenMatrices, optimizer: optimizer() }]),
      gradAccum: 2,
      clip: 1,
    });
    await loadTensors(gpu, trainer.parameters.all, a.all);
    const before = await trainer.parameters.read(gpu);
    for (let step = 0; step < 8; step++) {
      trainer.step([batch(a.model.vocabSize, 0), batch(a.model.vocabSize, 1)]);
    }
    const losses = (await trainer.metrics()).map((m) => m.loss);
    ok(losses[7] < losses[0], `${losses}`);
    const after = await trainer.parameters.read(gpu);
    for (const [tensor, values] of before) {
      const isSame = values.every((value, i) => Object.is(value, after.get(tensor)![i]));
      equal(isSame, !tensor.includes(".lora_"), tensor);
    }
    // Two floats of state per trained value, as without adapters; and none for others.
    const values = [...a.adapter.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength / 4, 0);
    const own = trainer.state.filter((state) => state.name.includes(".lora_"));
    equal(own.reduce((sum, { tensor }) => sum + tensor.size, 0), 2 * values);
    const rest = trainer.state.filter((state) => !state.name.includes(".lora_"));
    ok(rest.every(({ tensor }) => tensor.size <= 4 * a.adapter.tensors.size), rest.map((s) => s.name).join());
    trainer.destroy();
  });
}

Deno.test("a step of rank 8 on GPT-2 has gradients and state of 294,912 values, as many as PEFT trains", () => {
  const config = { ...modelPresets.gpt2, vocab_size: 50257 };
  const layers = adapterLayers({
    ...{ r: 8, lora_alpha: 16, lora_dropout: 0, use_rslora: false, base_model_name_or_path: null },
    target_modules: defaultLoraTargets(config),
  });
  const profile = { subgroupSize: 32, isSoftware: false, maxBindingBytes: 2 ** 30, maxBufferBytes: 2 ** 30 };
  const record = languageModelLoss(modelFromConfig(config, layers), 1, 16);
  const { graph, state } = recordStep(profile, { record, optimizer: adamw(), clip: 1 });
  const gradients = graph.persistent.filter((storage) => storage.kind === "gradient");
  equal(gradients.reduce((sum, { byteLength }) => sum + byteLength / 4, 0), 294_912);
  equal(state.reduce((sum, { tensor }) => sum + tensor.size, 0), 2 * 294_912);
});

Deno.test("an adapter folder keeps what was written, and says whose weights it belongs to", async () => {
  await using a = await adapted("gpt2", { use_rslora: true, lora_dropout: 0.25 });
  const file = JSON.parse(await Deno.readTextFile(join(a.adapter.path, "adapter_config.json")));
  const { r, lora_alpha, lora_dropout, use_rslora, target_modules, fan_in_fan_out, peft_type } = file;
  deepEqual([r, lora_alpha, lora_dropout, use_rslora], [3, 6, 0.25, true]);
  deepEqual([target_modules, fan_in_fan_out, peft_type], [["c_attn"], true, "LORA"]);
  deepEqual(a.adapter.adapter, {
    ...{ r, lora_alpha, lora_dropout, use_rslora, target_modules },
    base_model_name_or_path: a.base.path,
  });
  equal(a.adapter.baseWeights, await weightsDigest(a.base));
});
