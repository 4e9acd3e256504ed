"""Hugging Face's transformers on the CPU in a process of its own: greedy generation of a GPT-2 with its cache."""
import hashlib
import math
import time
from array import array

import torch
import transformers
from inputs import hashed, uniform
from serve import serve


class Generation:
    def __init__(self, case):
        shape, self.tokens = case["model"], case["tokens"]
        config = transformers.GPT2Config(
            vocab_size=shape["vocab"],
            n_positions=shape["seqLen"],
            n_embd=shape["width"],
            n_layer=shape["layers"],
            n_head=shape["heads"],
            bos_token_id=None,
            eos_token_id=None,
        )
        self.model = transformers.GPT2LMHeadModel(config).eval()
        blocks = self.model.transformer.h
        tables = [self.model.transformer.wte, self.model.transformer.wpe]
        linears = [l for b in blocks for l in (b.attn.c_attn, b.attn.c_proj, b.mlp.c_fc, b.mlp.c_proj)]
        with torch.no_grad():
            for seed, layer in enumerate(tables + linears):
                layer.weight.copy_(uniform(layer.weight.shape, seed, 0.1 * math.sqrt(3)))
        count, vocab = case["promptTokens"], shape["vocab"]
        self.prompts = torch.stack([hashed(count, 5001 + i) % vocab for i in range(shape["batch"])])
        began = time.perf_counter()
        added = self.generate()
        first = time.perf_counter() - began
        began = time.perf_counter()
        self.generate()
        once = time.perf_counter() - began
        ids = array("I", added.flatten().tolist())
        self.ready = {"first": first, "once": once, "ids": hashlib.sha256(ids.tobytes()).hexdigest()}

    def generate(self):
        # Nobody pads or ends; both are said so that transformers need not guess.
        ids = self.model.generate(
            self.prompts,
            attention_mask=torch.ones_like(self.prompts),
            max_new_tokens=self.tokens,
            do_sample=False,
            use_cache=True,
            pad_token_id=0,
        )
        return ids[:, self.prompts.shape[1]:]

    def run(self, count):
        for _ in range(count):
            self.generate()


serve(f"transformers {transformers.__version__}, {torch.get_num_threads()} threads", Generation)
