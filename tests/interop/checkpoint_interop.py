"""The Python side of checkpoint_interop_test.ts. Results go to files as JSON; tensors are base64.

    verdicts OUT COUNT SEED   what the Rust reference says of COUNT mutated safetensors files
    save_and_open DIR         saves the tensors of DIR/spec.json with save_file, once per metadata, and prints
                              what safe_open finds in the last of the files that we wrote beside them
    model DIR TEXTS OUT       what the Auto classes find in a model folder, given nothing but its name
    save_model DIR SAVED      loads a model folder and saves it again: whole, in shards, without its head
"""
import base64, json, pathlib, random, re, struct, sys


def encode(data):
    return base64.b64encode(data).decode()


def file(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def mutate_bytes(rng, raw):
    raw = bytearray(raw)
    for _ in range(rng.choice([1, 1, 2, 3])):
        kind = rng.randrange(4)
        if kind == 0:
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        elif kind == 1:
            del raw[rng.randrange(len(raw)):]
        elif kind == 2:
            raw.insert(rng.randrange(len(raw) + 1), rng.randrange(256))
        else:
            raw[rng.randrange(min(8, len(raw) - 1), len(raw))] = rng.choice(b'0123456789{}[]",:-e.')
        raw = raw or bytearray(b"\0")
    return bytes(raw)


# Replacements for one token of a header: they reach rules that single bytes hardly ever hit.
TOKENS = ["0", "1", "2", "16", "-1", "-0", "1.0", "1e0", "0.5", "18446744073709551615", "18446744073709551616",
          "4611686018427387904", "null", "true", "[]", "{}", "[0]", "[0,0]", '""', '"F32"', '"F4"', '"F8_E4M3"',
          '"f32"', '"a"', '"x"', '"shape"', '"__metadata__"', '"\\u0061"', '"\\ud800"', '"\\ud83d\\ude00"',
          '"\\x"', '"\u00e9"', '"\x7f"', '"\x01"', '{"F32":null}', '{"U8":{}}', '["U8",[1],[0,1]]', "1e400",
          "[" * 126 + "]" * 126, "[" * 124 + "]" * 124, ",", ":", "{", "}", "[", "]", " ", "\f", ""]


def mutate_tokens(rng, raw):
    length = struct.unpack("<Q", raw[:8])[0]
    tokens = re.findall(r'"[^"]*"|[0-9]+|\s+|.', raw[8:8 + length].decode())
    for _ in range(rng.choice([1, 1, 1, 2])):
        at = rng.randrange(len(tokens))
        if rng.random() < 0.2:
            tokens.insert(at, rng.choice(TOKENS))
        else:
            tokens[at] = rng.choice(TOKENS)
    return file("".join(tokens).encode(), raw[8 + length:])


def verdicts(out, count, seed):
    import safetensors
    rng = random.Random(int(seed))
    t = lambda dtype, shape, begin, end: {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    data = bytes(range(16))
    base = [
        file({"a": t("F32", [2, 2], 0, 16)}, data),
        file({"__metadata__": {"format": "pt", "k": "v"}, "a": t("F32", [2, 2], 0, 16)}, data),
        file({"b": t("F32", [2], 8, 16), "a": t("F32", [2], 0, 8)}, data),
        file({"a": t("I64", [1], 0, 8), "b": t("BF16", [4], 8, 16), "c": t("U8", [0, 2], 16, 16)}, data),
        file({"a": t("F4", [2], 0, 1), "b": t("F6_E2M3", [4], 1, 4), "s": t("BOOL", [], 4, 5)}, data[:5]),
        file({"a": {**t("U8", [1], 0, 1), "more": [1, {"x": "y"}]}}, data[:1]),
    ]
    rows = []
    for i in range(int(count)):
        raw = (mutate_tokens if i % 2 else mutate_bytes)(rng, rng.choice(base))
        row = {"base64": encode(raw)}
        try:
            found = safetensors.deserialize(raw)
            row["tensors"] = [[k, v["dtype"], v["shape"], encode(bytes(v["data"]))] for k, v in found]
        except safetensors.SafetensorError as error:
            row["error"] = str(error)[:200]
        rows.append(row)
    pathlib.Path(out).write_text(json.dumps(rows))


def torch_dtypes():
    import torch
    return {"BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "F8_E5M2": torch.float8_e5m2,
            "F8_E4M3": torch.float8_e4m3fn, "F8_E8M0": torch.float8_e8m0fnu, "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
            "F8_E5M2FNUZ": torch.float8_e5m2fnuz, "I16": torch.int16, "U16": torch.uint16, "F16": torch.float16,
            "BF16": torch.bfloat16, "I32": torch.int32, "U32": torch.uint32, "F32": torch.float32,
            "C64": torch.complex64, "F64": torch.float64, "I64": torch.int64, "U64": torch.uint64}


def tensor_row(tensor):
    import torch
    names = {dtype: name for name, dtype in torch_dtypes().items()}
    values = tensor.detach().contiguous().reshape(-1)
    data = values.view(torch.uint8).numpy().tobytes() if values.numel() else b""
    return {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "base64": encode(data)}


def save_and_open(path):
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file
    path = pathlib.Path(path)
    spec = json.loads((path / "spec.json").read_text())
    tensors = {}
    for row in spec["tensors"]:
        dtype, data = torch_dtypes()[row["dtype"]], bytearray(base64.b64decode(row["base64"]))
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        tensors[row["name"]] = flat.reshape(row["shape"])
    for i, metadata in enumerate(spec["metadatas"]):
        save_file(tensors, path / f"theirs-{i}.safetensors", metadata=metadata)
    with safe_open(path / f"ours-{i}.safetensors", "pt") as opened:
        found = {name: tensor_row(opened.get_tensor(name)) for name in opened.keys()}
        print(json.dumps({"metadata": opened.metadata(), "tensors": found}))


def model(path, texts, out):
    from transformers import AutoModelForCausalLM, AutoTokenizer
    loaded = AutoModelForCausalLM.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    texts = json.loads(pathlib.Path(texts).read_text())
    ids = [tokenizer(text)["input_ids"] for text in texts]
    pathlib.Path(out).write_text(json.dumps({
        "model": type(loaded).__name__,
        "tensors": {name: tensor_row(tensor) for name, tensor in loaded.state_dict().items()},
        "ids": ids,
        "decoded": [tokenizer.decode(row) for row in ids],
        "eos": tokenizer.eos_token,
        "model_max_length": tokenizer.model_max_length,
        "generation": loaded.generation_config.eos_token_id,
    }))


def save_model(path, saved):
    from transformers import AutoModelForCausalLM
    loaded = AutoModelForCausalLM.from_pretrained(path)
    saved = pathlib.Path(saved)
    loaded.save_pretrained(saved / "whole")
    loaded.save_pretrained(saved / "shards", max_shard_size="20KB")
    loaded.base_model.save_pretrained(saved / "base")


COMMANDS = {"verdicts": verdicts, "save_and_open": save_and_open, "model": model, "save_model": save_model}
COMMANDS[sys.argv[1]](*sys.argv[2:])
