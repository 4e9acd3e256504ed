"""PyTorch on the CPU in a process of its own: the GPT step of the bench, with biases as koala-lm has them."""
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from inputs import hashed, uniform
from serve import serve


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (
            z.view(B, T, self.heads, C // self.heads).transpose(1, 2)
            for z in self.attn(self.norm1(x)).split(C, -1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, shape):
        super().__init__()
        width = shape["width"]
        self.wte = nn.Embedding(shape["vocab"], width)
        self.wpe = nn.Embedding(shape["seqLen"], width)
        self.blocks = nn.ModuleList(Block(width, shape["heads"]) for _ in range(shape["layers"]))
        self.norm = nn.LayerNorm(width)
        linears = [l for b in self.blocks for l in (b.attn, b.proj, b.up, b.down)]
        with torch.no_grad():
            for seed, table in enumerate((self.wte, self.wpe)):
                table.weight.copy_(uniform(table.weight.shape, seed, 0.1 * math.sqrt(3)))
            for seed, linear in enumerate(linears, 2):
                out, into = linear.weight.shape
                linear.weight.copy_(uniform((into, out), seed, 0.1 * math.sqrt(3)).T)
                linear.bias.zero_()

    def forward(self, ids, targets):
        x = self.wte(ids) + self.wpe.weight
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy((self.norm(x) @ self.wte.weight.T).flatten(0, 1), targets.flatten())


class Step:
    def __init__(self, shape):
        self.shape = shape
        began = time.perf_counter()
        # In float64 the losses are what the bench expects of everyone.
        self.model = Gpt(shape).to(torch.float64 if "--double" in sys.argv else torch.float32)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0
        )
        self.losses = []
        self.run(1)
        first = time.perf_counter() - began
        self.run(1)
        began = time.perf_counter()
        self.run(1)
        once = time.perf_counter() - began
        self.ready = {"first": first, "once": once, "losses": self.losses[:3]}

    def batch(self, step):
        """One batch for the three steps that are checked, then one of its own for each."""
        seed = 1001 + 2 * max(0, step - 2)
        size = (self.shape["batch"], self.shape["seqLen"])
        return [(hashed(size[0] * size[1], s) % self.shape["vocab"]).view(size) for s in (seed, seed + 1)]

    def run(self, count):
        for _ in range(count):
            ids, targets = self.batch(len(self.losses))
            self.optimizer.zero_grad()
            loss = self.model(ids, targets)
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())



serve(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads", lambda case: Step(case["model"]))
