"""Trains byte-level BPE with Hugging Face tokenizers on small texts that are full of ties, of repeated
letters and of tokens that can be spelt in two ways, and records the merges; then what it encodes at the
edges of the word pattern.

    python make_bpe_cases.py bpe_cases.json
"""
import json, random, sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def train(text, vocab_size, min_frequency):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    t.train_from_iterator([text], trainer)
    return t


random.seed(20260101)
gaps = [" ", "\n", "  ", "\u0085x", "\ufeff!", " \t", "'s ", "7 ", "\u2003"]
cases = []
for k in range(40):
    letters = "abcé日d"[: 1 + k % 6]
    text = "".join("".join(random.choices(letters, k=random.randint(1, 14))) + random.choice(gaps) for _ in range(random.randint(10, 120)))
    vocab_size, min_frequency = 257 + random.randint(0, 200), k % 4
    t = train(text, vocab_size, min_frequency)
    model = json.loads(t.to_str())["model"]
    probe = text[:60][::-1]
    cases.append({"text": text, "vocab_size": vocab_size, "min_frequency": min_frequency, "merges": [" ".join(m) for m in model["merges"]], "size": len(model["vocab"]), "probe": probe, "ids": t.encode(probe).ids})
json.dump(cases, open(sys.argv[1], "w"), ensure_ascii=True, indent=0)
