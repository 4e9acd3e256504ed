"""The Python side of hugging_face_folders_test.ts: small models with random weights in the forms that folders have
in the wild, and what PyTorch makes of folders.

    make DIR PROMPTS       makes folders in DIR and prints for each the logits of the last position of every prompt,
                           computed in float32 on the weights as saved
    open PROMPTS DIR...    prints the same for folders that we wrote, and what safe_open finds in their files
"""
import json, pathlib, sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, LlamaConfig, OpenAIGPTConfig

GPT2 = dict(vocab_size=1100, n_positions=32, n_embd=36, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0)
LLAMA = dict(vocab_size=1100, max_position_embeddings=32, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, bos_token_id=0, eos_token_id=0, tie_word_embeddings=False)

LLAMA3 = dict(rope_type="llama3", rope_theta=100.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)
# What a configuration may ask for, beside what the folders of `make` have.
CONFIGS = {
    "gpt2-wide": GPT2Config(**GPT2 | dict(n_embd=40, n_head=5, n_inner=72, activation_function="gelu_pytorch_tanh")),
    "gpt2-erf": GPT2Config(**GPT2 | dict(n_layer=1, n_head=1, activation_function="gelu", layer_norm_epsilon=1e-3)),
    "openai-gpt-one-head": OpenAIGPTConfig(**GPT2 | dict(n_layer=3, n_head=1, layer_norm_epsilon=1e-3)),
    "llama-llama3": LlamaConfig(**LLAMA | dict(rope_parameters=LLAMA3, max_position_embeddings=64)),
    "llama-biased": LlamaConfig(**LLAMA | dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "llama-ungrouped": LlamaConfig(**LLAMA | dict(num_key_value_heads=4, rms_norm_eps=1e-3,
                                                  rope_parameters=dict(rope_type="default", rope_theta=500.0))),
    "llama-one-key": LlamaConfig(**LLAMA | dict(num_attention_heads=8, num_key_value_heads=1, head_dim=10)),
}


def random_model(config, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gain = parameter.dim() == 1 and "weight" in name
            parameter.normal_(1.0 if gain else 0.0, 0.1)
    return model.eval()


def logits(path, prompts):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0, -1].tolist() for ids in prompts]


def save_old(path, model):
    """As the files of the first years of GPT and GPT-2: no prefix, causal masks, a copy of the tied head, torch_dtype."""
    model.save_pretrained(path)
    tensors = {name: tensor.clone() for name, tensor in model.transformer.state_dict().items()}
    size = model.config.n_positions
    for layer in range(model.config.n_layer):
        tensors[f"h.{layer}.attn.bias"] = torch.tril(torch.ones(size, size, dtype=torch.bool)).view(1, 1, size, size)
        tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    if model.config.model_type == "openai-gpt":
        tensors["position_ids"] = torch.arange(size).unsqueeze(0)
    tensors["lm_head.weight"] = model.get_input_embeddings().weight.clone()
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((path / "config.json").read_text())
    config["torch_dtype"] = config.pop("dtype", "float32")
    (path / "config.json").write_text(json.dumps(config))


def save_old_llama(path, model):
    """As Llama's first files: the frequencies of its rotary embedding in every layer."""
    model.save_pretrained(path)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for layer in range(model.config.num_hidden_layers):
        tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def save_spelt_old(path, model):
    """As transformers 4 spelt config.json: rope_theta, rope_scaling and torch_dtype instead of today's names."""
    model.save_pretrained(path)
    config = json.loads((path / "config.json").read_text())
    scaling = config.pop("rope_parameters")
    config |= dict(rope_theta=scaling.pop("rope_theta"), rope_scaling=scaling, torch_dtype=config.pop("dtype"))
    (path / "config.json").write_text(json.dumps(config))


def save_forms(path, name, model):
    """As a whole and in shards, with the head and without, and as old versions did."""
    for form, part in (("", model), ("base", model.base_model)):
        part.save_pretrained(path / f"{name}-{form or 'whole'}")
        part.save_pretrained(path / "-".join(filter(None, (name, form, "shards"))), max_shard_size="60KB")
    save_old(path / f"{name}-old", model)


def make(path, prompts):
    path = pathlib.Path(path)
    prompts = json.loads(prompts)
    gpt2 = random_model(GPT2Config(**GPT2), 1)
    save_forms(path, "gpt2", gpt2)
    options = dict(tie_word_embeddings=False, n_inner=50, activation_function="gelu", layer_norm_epsilon=1e-4)
    random_model(GPT2Config(**{**GPT2, **options}), 2).save_pretrained(path / "gpt2-untied")
    gpt = random_model(OpenAIGPTConfig(**GPT2), 6)
    save_forms(path, "openai-gpt", gpt)
    untied = OpenAIGPTConfig(**GPT2 | dict(tie_word_embeddings=False))
    random_model(untied, 7).save_pretrained(path / "openai-gpt-untied")
    llama = random_model(LlamaConfig(**LLAMA), 3)
    llama.save_pretrained(path / "llama-whole")
    llama.save_pretrained(path / "llama-shards", max_shard_size="60KB")
    save_old_llama(path / "llama-old", llama)
    tied = random_model(LlamaConfig(**{**LLAMA, "tie_word_embeddings": True}), 4)
    tied.save_pretrained(path / "llama-tied")
    for name, config in CONFIGS.items():
        random_model(config, 5).save_pretrained(path / name, max_shard_size="60KB")
    save_spelt_old(path / "llama-spelt-old", random_model(CONFIGS["llama-llama3"], 5).to(torch.bfloat16))
    for name, model in [("gpt2", gpt2), ("openai-gpt", gpt), ("llama", llama)]:
        for dtype in [torch.bfloat16, torch.float16]:
            short = {torch.bfloat16: "bf16", torch.float16: "f16"}[dtype]
            model.to(dtype).save_pretrained(path / f"{name}-{short}", max_shard_size="40KB")
            model.to(torch.float32)
    print(json.dumps({folder.name: logits(folder, prompts) for folder in sorted(path.iterdir())}))


def open_folders(prompts, *paths):
    prompts = json.loads(prompts)
    result = {}
    for path in map(pathlib.Path, paths):
        dtypes = {}
        for file in sorted(path.glob("*.safetensors")):
            with safe_open(file, "pt") as opened:
                tensors = {name: str(opened.get_tensor(name).dtype) for name in opened.keys()}
                if file.name.startswith("model"):
                    assert opened.metadata() == {"format": "pt"}, opened.metadata()
                    assert not tensors.keys() & dtypes.keys(), file
                    dtypes |= tensors
        # Without options, as anyone would: the folder itself must say in what it is to be loaded.
        model = AutoModelForCausalLM.from_pretrained(path).eval()
        tokenizer = AutoTokenizer.from_pretrained(path)
        with torch.no_grad():
            own = [model(torch.tensor([ids])).logits[0, -1].float().tolist() for ids in prompts]
        result[str(path)] = {
            "logits": logits(path, prompts),
            "own": own,
            "dtype": str(model.dtype),
            "dtypes": sorted(set(dtypes.values())),
            "tensors": len(dtypes),
            "parameters": model.num_parameters(),
            "eos": tokenizer.eos_token,
            "decoded": tokenizer.decode(tokenizer("It was a dark and stormy night.")["input_ids"]),
            "eos_id": model.generation_config.eos_token_id,
        }
    print(json.dumps(result))


if __name__ == "__main__":
    {"make": make, "open": open_folders}[sys.argv[1]](*sys.argv[2:])
