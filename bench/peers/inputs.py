"""The numbers of ../inputs.ts, the same for every implementation."""
import math

import torch


def hashed(count, seed):
    """The finaliser of MurmurHash3 over indices, in 64 bits cut to 32."""
    mask = 0xFFFFFFFF
    h = (torch.arange(count, dtype=torch.int64) + ((seed * 0x9E3779B9) & mask)) & mask
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & mask
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & mask
    return h ^ (h >> 16)


def uniform(shape, seed, scale):
    h = hashed(math.prod(shape), seed).to(torch.float64)
    return ((h / 2**31 - 1) * scale).to(torch.float32).view(shape)
