"""The Python side of evaluation_test.ts.

    make DIR                  saves a Llama with random weights in bfloat16
    evaluate JOBS             prints what PyTorch makes of each job of a JSON file: a folder, texts, sequence length and
                              stride; computed in float32 on the weights as saved

The loss is that of the recipe "Perplexity of fixed-length models" in Hugging Face's documentation, with the model's own
`labels`, and with tokens weighted by how many were predicted. The recipe's max_length counts the predicted token too,
so it is one more than the sequence length.
"""
import json, math, pathlib, sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig


def make(path):
    torch.manual_seed(7)
    config = LlamaConfig(vocab_size=300, max_position_embeddings=24, hidden_size=32, intermediate_size=48,
                         num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3,
                         bos_token_id=0, eos_token_id=0)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(path)


def evaluate(folder, texts, seqLen, stride):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = []
    for text in texts:
        ids += [tokenizer.eos_token_id] if ids else []
        ids += tokenizer(text)["input_ids"]
    text_bytes = len("".join(texts).encode()) - len(tokenizer.decode(ids[:1]).encode())
    max_length, previous_end, nll, tokens = seqLen + 1, 1, 0.0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + max_length, len(ids))
        new = end - previous_end
        inputs = torch.tensor([ids[begin:end]])
        labels = inputs.clone()
        labels[:, :-new] = -100
        with torch.no_grad():
            nll += model(inputs, labels=labels).loss.item() * new
        tokens += new
        previous_end = end
        if end == len(ids):
            break
    loss = nll / tokens
    return {"loss": loss, "perplexity": math.exp(loss), "bits_per_byte": nll / math.log(2) / text_bytes, "tokens": tokens}


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    jobs = json.loads(pathlib.Path(sys.argv[2]).read_text())
    print(json.dumps([evaluate(**job) for job in jobs]))
