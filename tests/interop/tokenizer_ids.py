"""What Hugging Face's tokenizers library makes of texts.

    tokenizer_ids.py train FOLDER    trains small tokenizers of several kinds on FOLDER/corpus.txt, into FOLDER/KIND.json
    tokenizer_ids.py encode FILE     FILE names tokenizers and holds texts: prints ids and decoded texts of each
    tokenizer_ids.py merges FILE     FILE holds texts and options: prints the tokenizer trained with each
"""
import json, pathlib, sys
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def byte_level(pattern=None, normalizer=None, add_prefix_space=False):
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=pattern is None)
    if pattern:
        split = pre_tokenizers.Sequence([*pattern, split])
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    options = dict(vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    return tokenizer, trainers.BpeTrainer(show_progress=False, **options)


def llama2():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    strip = decoders.Strip(" ", 1, 0)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip])
    tokens = SPECIAL + [f"<0x{b:02X}>" for b in range(256)]
    return tokenizer, trainers.BpeTrainer(vocab_size=1500, special_tokens=tokens, show_progress=False, max_token_length=12)


def gpt():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.BPEDecoder(suffix="</w>")
    options = dict(vocab_size=1500, special_tokens=SPECIAL, end_of_word_suffix="</w>")
    return tokenizer, trainers.BpeTrainer(show_progress=False, **options)


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=1500, unk_token="<unk>", special_tokens=SPECIAL, show_progress=False)
    return tokenizer, trainer


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return tokenizer, trainers.WordPieceTrainer(vocab_size=1500, special_tokens=SPECIAL, show_progress=False)


def whitespace():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Whitespace(), decoders.BPEDecoder()
    return tokenizer, trainers.BpeTrainer(vocab_size=1500, special_tokens=SPECIAL, show_progress=False)


KINDS = {
    "gpt2-like": byte_level(),
    "llama3-like": byte_level([pre_tokenizers.Split(Regex(LLAMA3), "isolated")]),
    "gpt-like": gpt(),
    "qwen-like": byte_level([pre_tokenizers.Split(Regex(LLAMA3.replace("{1,3}", "")), "isolated")], normalizers.NFC()),
    "smollm-like": byte_level([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    "roberta-like": byte_level(add_prefix_space=True),
    "llama2-like": llama2(),
    "t5-like": unigram(),
    "bert-like": word_piece(),
    "whitespace": whitespace(),
}


def train(folder):
    for kind, (tokenizer, trainer) in KINDS.items():
        tokenizer.train([str(folder / "corpus.txt")], trainer)
        tokenizer.add_tokens([AddedToken("KoalaLM", normalized=False)])
        # GPT-2's kind stays plain, which is encoded in another way.
        if kind != "gpt2-like":
            tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<sep>", rstrip=True)])
        tokenizer.save(str(folder / f"{kind}.json"))


def encode(job):
    results = []
    for path in job["tokenizers"]:
        tokenizer = Tokenizer.from_file(path)
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in job["texts"]]
        decoded = [tokenizer.decode(i, skip_special_tokens=False) for i in ids]
        skipped = [tokenizer.decode(i, skip_special_tokens=True) for i in ids]
        results.append({"ids": ids, "decoded": decoded, "skipped": skipped})
    return results


def merges(job):
    results = []
    for options in job["options"]:
        tokenizer, _ = byte_level()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(**options, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(job["texts"], trainer)
        results.append(tokenizer.to_str(pretty=True))
    return results


if sys.argv[1] == "train":
    train(pathlib.Path(sys.argv[2]))
else:
    job = json.loads(pathlib.Path(sys.argv[2]).read_text())
    print(json.dumps({"encode": encode, "merges": merges}[sys.argv[1]](job)))
