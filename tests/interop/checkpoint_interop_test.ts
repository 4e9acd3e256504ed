import assert from "node:assert/strict";
import { join } from "node:path";
import { fromFloat32 } from "../../checkpoint/safetensors/float_formats.ts";
import { readModelFolder } from "../../checkpoint/hugging_face.ts";
import {
  parseSafetensors,
  SAFETENSORS_DTYPES,
  type SafetensorsDtype,
  tensorBytes,
  type TensorToWrite,
  writeSafetensors,
} from "../../checkpoint/safetensors/safetensors.ts";
import { writeCheckpoint } from "../../checkpoint/run/training_state.ts";
import { runPython, whyNoPython } from "./python.ts";

const SCRIPT = new URL("checkpoint_interop.py", import.meta.url);
const GOLDEN = [
  new URL("../golden/tokenizer/", import.meta.url),
  new URL("../../../shared/golden/tokenizer/", import.meta.url),
];
const FUZZ_FILES = 4000;
const FUZZ_SEED = 20250;

// Differences on purpose: see checkpoint/safetensors/header.ts.
const DELIBERATE = /a key must not be repeated|from 0 to 2\^53 - 1, got \d{16,}$/;

interface TensorRow {
  dtype: SafetensorsDtype;
  shape: number[];
  base64: string;
}

/** A test that needs Python and a folder of its own. */
const ignore = await whyNoPython() !== null;
function testWithPython(name: string, test: (dir: string) => Promise<void>): void {
  const fn = async () => {
    const dir = await Deno.makeTempDir();
    try {
      await test(dir);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  };
  Deno.test({ name, ignore, fn });
}

/** Bytes that look random and are the same on every run. */
function pseudoRandomBytes(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0, state = seed >>> 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

function pseudoRandomFloats(length: number, seed: number): Uint8Array {
  const bytes = pseudoRandomBytes(length, seed);
  return fromFloat32("F32", Float32Array.from(bytes, (byte) => (byte - 127.5) / 1000));
}

const CONFIG = {
  architectures: ["GPT2LMHeadModel"],
  bos_token_id: 0,
  eos_token_id: 0,
  model_type: "gpt2",
  n_embd: 16,
  n_head: 2,
  n_layer: 2,
  n_positions: 32,
  vocab_size: 1024,
};

/** A GPT-2 of `CONFIG` with known weights. */
function gpt2Tensors(): TensorToWrite[] {
  const width = CONFIG.n_embd;
  const block = (h: string): [string, number[]][] => [
    [`${h}.ln_1.weight`, [width]],
    [`${h}.ln_1.bias`, [width]],
    [`${h}.attn.c_attn.weight`, [width, 3 * width]],
    [`${h}.attn.c_attn.bias`, [3 * width]],
    [`${h}.attn.c_proj.weight`, [width, width]],
    [`${h}.attn.c_proj.bias`, [width]],
    [`${h}.ln_2.weight`, [width]],
    [`${h}.ln_2.bias`, [width]],
    [`${h}.mlp.c_fc.weight`, [width, 4 * width]],
    [`${h}.mlp.c_fc.bias`, [4 * width]],
    [`${h}.mlp.c_proj.weight`, [4 * width, width]],
    [`${h}.mlp.c_proj.bias`, [width]],
  ];
  const shapes: [string, number[]][] = [
    ["wte.weight", [CONFIG.vocab_size, width]],
    ["wpe.weight", [CONFIG.n_positions, width]],
    ...block("h.0"),
    ...block("h.1"),
    ["ln_f.weight", [width]],
    ["ln_f.bias", [width]],
  ];
  return shapes.map(([name, shape], i) => ({
    name: `transformer.${name}`,
    dtype: "F32",
    shape,
    data: pseudoRandomFloats(tensorBytes("F32", shape) / 4, i),
  }));
}

async function tokenizerFile(name: string): Promise<string> {
  for (const folder of GOLDEN) {
    const text = await Deno.readTextFile(new URL(name, folder)).catch(() => null);
    if (text !== null) return text;
  }
  throw new Error(`tests/golden/tokenizer/${name} must exist; copy it from the golden files`);
}

function assertSameTensors(found: Record<string, TensorRow>, expected: readonly TensorToWrite[]): void {
  for (const { name, dtype, shape, data } of expected) {
    const row = { dtype, shape, base64: (data as Uint8Array).toBase64() };
    assert.deepEqual(found[name], row, name);
  }
}

testWithPython("the Rust reference and parseSafetensors() agree on mutated files", async (dir) => {
  const out = join(dir, "verdicts.json");
  await runPython(SCRIPT, ["verdicts", out, String(FUZZ_FILES), String(FUZZ_SEED)]);
  const rows: { base64: string; error?: string; tensors?: [string, string, number[], string][] }[] = JSON
    .parse(
      await Deno.readTextFile(out),
    );
  assert.equal(rows.length, FUZZ_FILES);
  assert.ok(rows.filter((row) => row.tensors).length > 20, "some mutated files must still be valid");
  for (const { base64, error, tensors } of rows) {
    let found: [string, string, readonly number[], string][] | undefined;
    let problem = "";
    try {
      const parsed = parseSafetensors(Uint8Array.fromBase64(base64)).tensors;
      found = [...parsed].map(([name, { dtype, shape, data }]) => [name, dtype, shape, data.toBase64()]);
    } catch (thrown) {
      assert.ok(thrown instanceof SyntaxError, `${thrown} for ${base64}`);
      problem = thrown.message;
      if (tensors !== undefined && DELIBERATE.test(problem)) continue;
    }
    const sorted = (list?: readonly (readonly unknown[])[]) =>
      list && [...list].map((x) => JSON.stringify(x)).sort();
    const text = JSON.stringify(new TextDecoder().decode(Uint8Array.fromBase64(base64)));
    assert.deepEqual(sorted(found), sorted(tensors), `ours: ${problem}; reference: ${error}; file: ${text}`);
  }
});

testWithPython(
  "writeSafetensors() writes the bytes of Python's save_file(), and safe_open() reads them",
  async (dir) => {
    // PyTorch has no type for the packed formats.
    const dtypes = SAFETENSORS_DTYPES.filter((dtype) => !/^F[46]/.test(dtype) || dtype === "F64");
    const tensors: TensorToWrite[] = [];
    for (const [i, dtype] of dtypes.entries()) {
      for (const shape of [[3, 5], [], [0, 4], [8]]) {
        const bytes = pseudoRandomBytes(tensorBytes(dtype, shape), i);
        const data = dtype === "BOOL" ? bytes.map((byte) => byte & 1) : bytes;
        tensors.push({ name: `${dtype}.${shape.join("x")}`, dtype, shape, data });
      }
    }
    for (const name of ["", "😀", "\uffff", 'é\n\x01\x7f"\\/', "__proto__"]) {
      tensors.push({ name, dtype: "F32", shape: [1], data: pseudoRandomFloats(1, 9) });
    }
    // Python's order of several metadata entries is random, so one entry is all that can be compared.
    const metadatas: (Record<string, string> | undefined)[] = [undefined, {}, { format: "pt" }];
    const rows = tensors.map(({ data, ...rest }) => ({ ...rest, base64: (data as Uint8Array).toBase64() }));
    const spec = JSON.stringify({ tensors: rows, metadatas: metadatas.map((metadata) => metadata ?? null) });
    await Deno.writeTextFile(join(dir, "spec.json"), spec);
    for (const [i, metadata] of metadatas.entries()) {
      await writeSafetensors(join(dir, `ours-${i}.safetensors`), tensors, metadata);
    }
    const opened = JSON.parse(await runPython(SCRIPT, ["save_and_open", dir]));
    for (const i of metadatas.keys()) {
      const ours = await Deno.readFile(join(dir, `ours-${i}.safetensors`));
      assert.deepEqual(ours, await Deno.readFile(join(dir, `theirs-${i}.safetensors`)));
    }
    assert.deepEqual(opened.metadata, { format: "pt" });
    assert.equal(Object.keys(opened.tensors).length, tensors.length);
    assertSameTensors(opened.tensors, tensors);
  },
);

testWithPython(
  "a checkpoint loads with AutoModelForCausalLM and AutoTokenizer without options",
  async (dir) => {
    const tensors = gpt2Tensors();
    const path = await writeCheckpoint(dir, {
      model: { config: CONFIG, tensors, tokenizerJson: await tokenizerFile("tokenizer.json") },
      optimizer: [],
      state: { step: 1, seeds: {}, dataCursor: {}, metrics: {} },
    });
    const cases: { text: string; ids: number[]; decoded: string }[] = JSON.parse(
      await tokenizerFile("cases.json"),
    );
    const [texts, out] = [join(dir, "texts.json"), join(dir, "out.json")];
    await Deno.writeTextFile(texts, JSON.stringify(cases.map(({ text }) => text)));
    await runPython(SCRIPT, ["model", path, texts, out]);
    const found = JSON.parse(await Deno.readTextFile(out));
    assert.equal(found.model, "GPT2LMHeadModel");
    assertSameTensors(found.tensors, tensors);
    assert.deepEqual(found.tensors["lm_head.weight"], found.tensors["transformer.wte.weight"]);
    assert.equal(Object.keys(found.tensors).length, tensors.length + 1);
    assert.deepEqual(found.ids, cases.map(({ ids }) => ids));
    assert.deepEqual(found.decoded, cases.map(({ decoded }) => decoded));
    assert.deepEqual([found.eos, found.model_max_length, found.generation], ["<|endoftext|>", 32, 0]);
  },
);

testWithPython(
  "readModelFolder() reads what Python saves: whole, in shards, without the head",
  async (dir) => {
    const tensors = gpt2Tensors();
    const state = { step: 1, seeds: {}, dataCursor: {}, metrics: {} };
    const path = await writeCheckpoint(dir, { model: { config: CONFIG, tensors }, optimizer: [], state });
    await runPython(SCRIPT, ["save_model", path, dir]);
    for (const name of ["whole", "shards", "base"]) {
      using folder = await readModelFolder(join(dir, name));
      assert.deepEqual([...folder.tensors.keys()].sort(), tensors.map(({ name }) => name).sort(), name);
      for (const tensor of tensors) {
        assert.deepEqual(
          await folder.read(tensor.name),
          tensor.data,
          tensor.name,
        );
      }
    }
    const shards = await Array.fromAsync(Deno.readDir(join(dir, "shards")));
    assert.ok(shards.filter(({ name }) => name.endsWith(".safetensors")).length > 1);
  },
);
