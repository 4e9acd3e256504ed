"""The Python side of continue_training_test.ts.

    train JOBS      goes on from checkpoints of ours with PyTorch and prints the losses of each job of a JSON file: a
                    checkpoint, batches, and for AdamW its hyper-parameters
    files FILE...   prints what safe_open finds in safetensors files

AdamW's state in `optimizer.safetensors`, per parameter NAME of the model, all in its shape and orientation:

    adamw.m.NAME    exp_avg, the mean of gradients
    adamw.v.NAME    exp_avg_sq, the mean of their squares

and `step` in `training_state.json` is the number of steps that are done, PyTorch's `step` for all parameters.
Weight decay is for the hidden weight matrices alone: not for embeddings, an untied head, norms and biases.
"""
import hashlib, json, pathlib, sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

EMBEDDINGS = ("wte", "wpe", "tokens_embed", "positions_embed", "embed_tokens", "lm_head")


def restore_adamw(model, checkpoint, lr, betas, eps, weight_decay):
    saved = load_file(checkpoint / "optimizer.safetensors")
    step = json.loads((checkpoint / "training_state.json").read_text())["step"]
    parameters = dict(model.named_parameters())
    assert saved.keys() == {f"adamw.{part}.{name}" for name in parameters for part in "mv"}, saved.keys()
    decayed = {name for name, p in parameters.items() if p.dim() == 2 and name.split(".")[-2] not in EMBEDDINGS}
    groups = [{"params": [parameters[name] for name in sorted(names)], "weight_decay": decay}
              for names, decay in [(decayed, weight_decay), (parameters.keys() - decayed, 0.0)]]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps)
    for name, p in parameters.items():
        moments = {"exp_avg": saved[f"adamw.m.{name}"], "exp_avg_sq": saved[f"adamw.v.{name}"]}
        optimizer.state[p] = {"step": torch.tensor(float(step)), **moments}
    return optimizer


def train(checkpoint, batches, adamw=None, clip=None):
    checkpoint = pathlib.Path(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint).train()
    optimizer = restore_adamw(model, checkpoint, **adamw) if adamw else None
    losses = []
    for batch in batches:
        logits = model(torch.tensor(batch["tokens"])).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(batch["targets"]).flatten())
        losses.append(loss.item())
        if optimizer:
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
    return losses


def contents(path):
    with safe_open(path, "pt") as file:
        tensors = {}
        for name in file.keys():
            tensor = file.get_tensor(name)
            data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            digest = hashlib.sha256(data).hexdigest()
            tensors[name] = {"dtype": str(tensor.dtype), "shape": list(tensor.shape), "sha256": digest}
        return {"metadata": file.metadata(), "tensors": tensors}


if sys.argv[1] == "train":
    print(json.dumps([train(**job) for job in json.loads(pathlib.Path(sys.argv[2]).read_text())]))
else:
    print(json.dumps([contents(path) for path in sys.argv[2:]]))
