"""The Python side of instruct_model_test.ts: what transformers finds in folders beside the weights' values.

    instruct_model.py DIR...   prints it by folder
"""
import json, sys

from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

CHAT = [{"role": "user", "content": "the sun"}, {"role": "assistant", "content": "rose"}]


def found(path):
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path)
    return {
        "class": type(tokenizer).__name__,
        "special": tokenizer.special_tokens_map,
        "ends": [tokenizer.bos_token_id, tokenizer.eos_token_id, model.config.bos_token_id, model.config.eos_token_id],
        "longest": tokenizer.model_max_length,
        "side": tokenizer.padding_side,
        "template": tokenizer.chat_template,
        "chat": tokenizer.apply_chat_template(CHAT, tokenize=False),
        "ids": tokenizer("the sun rose<|eot_id|>")["input_ids"],
        "generation": model.generation_config.to_diff_dict(),
        "file": GenerationConfig.from_pretrained(path).to_diff_dict(),
    }


print(json.dumps({path: found(path) for path in sys.argv[1:]}))
