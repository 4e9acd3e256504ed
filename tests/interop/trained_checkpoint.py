"""The Python side of trained_checkpoint_test.ts.

    trained_checkpoint.py DIR CASES OUT
        DIR    a checkpoint, opened without options
        CASES  JSON: {"prompts": [[ids]], "texts": [text]}
        OUT    JSON: logits of the last position of each prompt, token ids and decoded text of each text
"""
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, cases, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
cases = json.load(open(cases))
with torch.no_grad():
    logits = [model(torch.tensor([ids])).logits[0, -1].tolist() for ids in cases["prompts"]]
ids = [tokenizer(text)["input_ids"] for text in cases["texts"]]
greedy = model.generate(torch.tensor([cases["prompts"][0]]), max_new_tokens=8, do_sample=False)
json.dump(
    {
        "logits": logits,
        "ids": ids,
        "decoded": [tokenizer.decode(i) for i in ids],
        "greedy": greedy[0].tolist(),
        "parameters": sum(p.numel() for p in model.parameters()),
    },
    open(out, "w"),
)
