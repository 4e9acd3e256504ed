"""The Python side of trained_checkpoint_test.ts.

    trained_checkpoint.py DIR CASES OUT
        DIR    a checkpoint, opened without options
        CASES  JSON: {"prompts": [[ids]], "texts": [text], "penalties": [number], "sampling": [generate()'s options]}
        OUT    JSON: logits of the last position of each prompt, token ids and decoded text of each text,
               100 greedy tokens of each prompt with each repetition penalty, and for each prompt and each way of
               sampling the tokens that generate() draws from, with their probabilities
"""
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, cases, out = sys.argv[1:]
# For models as small as these, threads that wait for each other take longer than the work: on a busy machine 20 times.
torch.set_num_threads(1)
model = AutoModelForCausalLM.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
cases = json.load(open(cases))
with torch.no_grad():
    logits = [model(torch.tensor([ids])).logits[0, -1].tolist() for ids in cases["prompts"]]
ids = [tokenizer(text)["input_ids"] for text in cases["texts"]]


def continued(prompt, **options):
    ids = torch.tensor([prompt])
    return model.generate(ids, attention_mask=torch.ones_like(ids), **options)


def drawn_from(prompt, options):
    out = continued(prompt, max_new_tokens=1, do_sample=True, output_scores=True, return_dict_in_generate=True,
                    **{"top_k": 0, **options})
    probabilities = out.scores[0][0].double().softmax(dim=-1)
    return {id: p for id, p in enumerate(probabilities.tolist()) if p > 0}


greedy = [[continued(ids, max_new_tokens=100, do_sample=False, repetition_penalty=penalty)[0, len(ids):].tolist()
           for ids in cases["prompts"]] for penalty in cases["penalties"]]
json.dump(
    {
        "logits": logits,
        "ids": ids,
        "decoded": [tokenizer.decode(i) for i in ids],
        "greedy": greedy,
        "drawn_from": [[drawn_from(ids, options) for options in cases["sampling"]] for ids in cases["prompts"]],
        "parameters": sum(p.numel() for p in model.parameters()),
    },
    open(out, "w"),
)
