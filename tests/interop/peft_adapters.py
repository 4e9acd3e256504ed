"""LoRA adapters that PEFT makes, and what PEFT makes of adapters.

    make DIR PROMPTS            makes models and adapters in DIR and prints for each adapter the logits of the last
                                position of every prompt, computed in float32
    open PROMPTS BASE DIR...    prints the same for adapters of the model BASE, beside its weights and merged into them
"""
import json, pathlib, sys, warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, OpenAIGPTConfig

from hugging_face_folders import GPT2, LLAMA, random_model

warnings.filterwarnings("ignore", "fan_in_fan_out")
ADAPTERS = {
    "gpt2-default": dict(),
    "gpt2-all": dict(r=3, lora_alpha=5, target_modules="all-linear", use_rslora=True, lora_dropout=0.1),
    "gpt-default": dict(target_modules=["c_attn", "mlp.c_proj"]),
    "llama-default": dict(task_type="CAUSAL_LM"),
    "llama-some": dict(r=1, lora_alpha=4, target_modules=["k_proj", "layers.1.mlp.down_proj"]),
}


def load(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def logits(model, prompts):
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0, -1].tolist() for ids in prompts]


def make(path, prompts):
    path = pathlib.Path(path)
    prompts = json.loads(prompts)
    random_model(GPT2Config(**GPT2), 1).save_pretrained(path / "gpt2")
    random_model(OpenAIGPTConfig(**GPT2), 4).save_pretrained(path / "gpt")
    random_model(LlamaConfig(**LLAMA), 2).to(torch.bfloat16).save_pretrained(path / "llama")
    result = {}
    for name, options in ADAPTERS.items():
        model = get_peft_model(load(path / name.split("-")[0]), LoraConfig(**options))
        torch.manual_seed(3)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if "lora_B" in key:
                    parameter.normal_(0.0, 0.3)
        model.eval().save_pretrained(path / name)
        result[name] = logits(model, prompts)
    print(json.dumps(result))


def open_adapters(prompts, base, *paths):
    prompts = json.loads(prompts)
    result = {}
    for path in map(pathlib.Path, paths):
        model = PeftModel.from_pretrained(load(base), path).eval()
        with safe_open(path / "adapter_model.safetensors", "pt") as file:
            tensors = sorted(file.keys())
        names = {name.replace(".default.", ".") for name, _ in model.named_parameters() if ".lora_" in name}
        assert names == set(tensors), names ^ set(tensors)
        beside = logits(model, prompts)
        # transformers finds the model by itself.
        alone = logits(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(), prompts)
        result[str(path)] = {
            "beside": beside,
            "alone": alone,
            "merged": logits(model.merge_and_unload(), prompts),
            "base": logits(load(base), prompts),
        }
    print(json.dumps(result))


{"make": make, "open": open_adapters}[sys.argv[1]](*sys.argv[2:])
