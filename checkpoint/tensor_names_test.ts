import assert from "node:assert/strict";
import { compareTensors, matchTensors, modelTensorNames } from "./tensor_names.ts";

Deno.test("modelTensorNames() adds the prefix that a checkpoint of the base model lacks", () => {
  const names = ["wte.weight", "h.0.attn.c_attn.bias", "ln_f.bias", "transformer.wpe.weight", "score.weight"];
  assert.deepEqual([...modelTensorNames(names, { model_type: "gpt2" })], [
    ["transformer.wte.weight", "wte.weight"],
    ["transformer.h.0.attn.c_attn.bias", "h.0.attn.c_attn.bias"],
    ["transformer.ln_f.bias", "ln_f.bias"],
    ["transformer.wpe.weight", "transformer.wpe.weight"],
    ["score.weight", "score.weight"],
  ]);
  const gpt = [
    "tokens_embed.weight",
    "h.0.attn.bias",
    "h.0.ln_1.bias",
    "position_ids",
    "positions_embed.weight",
  ];
  assert.deepEqual([...modelTensorNames(gpt, { model_type: "openai-gpt" })], [
    ["transformer.tokens_embed.weight", "tokens_embed.weight"],
    ["transformer.h.0.ln_1.bias", "h.0.ln_1.bias"],
    ["transformer.positions_embed.weight", "positions_embed.weight"],
  ]);
  const llama = modelTensorNames([
    "embed_tokens.weight",
    "layers.0.self_attn.q_proj.weight",
    "lm_head.weight",
  ], {
    model_type: "llama",
  });
  assert.deepEqual([...llama.keys()], [
    "model.embed_tokens.weight",
    "model.layers.0.self_attn.q_proj.weight",
    "lm_head.weight",
  ]);
});

Deno.test("modelTensorNames() ignores the buffers of old files but no bias", () => {
  const names = [
    "h.0.attn.bias",
    "transformer.h.1.attn.masked_bias",
    "h.0.attn.c_proj.bias",
    "h.0.mlp.c_fc.bias",
  ];
  assert.deepEqual([...modelTensorNames(names, { model_type: "gpt2" }).values()], names.slice(2));
  const llama = ["model.layers.0.self_attn.rotary_emb.inv_freq", "rotary_emb.inv_freq"];
  assert.equal(modelTensorNames(llama, { model_type: "llama" }).size, 0);
});

Deno.test("modelTensorNames() takes a tied head for the embedding and keeps an untied one", () => {
  const gpt2 = { model_type: "gpt2" };
  const both = ["transformer.wte.weight", "lm_head.weight"];
  assert.deepEqual([...modelTensorNames(both, gpt2)], [["transformer.wte.weight", "transformer.wte.weight"]]);
  assert.deepEqual([...modelTensorNames(["lm_head.weight"], gpt2)], [[
    "transformer.wte.weight",
    "lm_head.weight",
  ]]);
  assert.equal(modelTensorNames(both, { ...gpt2, tie_word_embeddings: false }).size, 2);
  assert.equal(
    modelTensorNames(["lm_head.weight"], { model_type: "llama" }).get("lm_head.weight"),
    "lm_head.weight",
  );
});

Deno.test("modelTensorNames() leaves the names of models that it does not know", () => {
  const names = ["wte.weight", "h.0.attn.bias", "lm_head.weight"];
  assert.deepEqual([...modelTensorNames(names, { model_type: "mine" }).keys()], names);
  assert.deepEqual([...modelTensorNames(names, {}).keys()], names);
});

Deno.test("modelTensorNames() rejects one tensor under two names", () => {
  assert.throws(
    () => modelTensorNames(["wte.weight", "transformer.wte.weight"], { model_type: "gpt2" }),
    /SyntaxError: .*under one name, got transformer.wte.weight as both wte.weight and transformer.wte.weight/,
  );
});

Deno.test("matchTensors() accepts the same tensors in any order", () => {
  const found = new Map([["b", { shape: [] }], ["a", { shape: [2, 3] }]]);
  matchTensors([{ name: "a", shape: [2, 3] }, { name: "b", shape: [] }], found);
});

Deno.test("matchTensors() lists what is missing, superfluous and of another shape in one error", () => {
  const expected = [{ name: "a", shape: [2, 3] }, { name: "b", shape: [4] }, { name: "c", shape: [1] }];
  const found = new Map([["a", { shape: [3, 2] }], ["b", { shape: [4] }], ["x", { shape: [1] }]]);
  assert.throws(() => matchTensors(expected, found), (error: Error) => {
    assert.ok(error instanceof TypeError);
    assert.match(
      error.message,
      /^This is a checkpoint of another model: it must hold the model's 3 tensors, got /,
    );
    assert.match(error.message, /1 missing \(c\); 1 not in the model \(x\)/);
    assert.match(error.message, /1 of another shape \(a \[3, 2\] instead of \[2, 3\]\)/);
    return true;
  });
});

Deno.test("matchTensors() counts what is too much to list", () => {
  const expected = Array.from({ length: 144 }, (_, i) => ({ name: `t${i}`, shape: [1] }));
  assert.throws(() => matchTensors(expected, new Map()), /144 missing \(t0, .*, t19 and 124 more\)/);
});

Deno.test("compareTensors() reports every difference, element types too", () => {
  const expected = [{ name: "a", shape: [2] }, { name: "b", shape: [] }, { name: "c", shape: [1] }];
  const found = new Map([
    ["a", { shape: [2], dtype: "I8" }],
    ["b", { shape: [1], dtype: "BF16" }],
    ["x", { shape: [1], dtype: "I8" }],
  ]);
  const differences = compareTensors(expected, found);
  assert.deepEqual(differences, {
    missing: ["c"],
    extra: ["x"],
    reshaped: [{ name: "b", expected: "[]", found: "[1]" }],
    retyped: [{ name: "a", dtype: "I8" }],
  });
  assert.throws(() => matchTensors(expected, found), /1 not of F32, F16 or BF16 \(a of I8\)/);
  const same = new Map([["a", { shape: [2], dtype: "F16" }]]);
  assert.deepEqual(Object.values(compareTensors(expected.slice(0, 1), same)), [[], [], [], []]);
});
