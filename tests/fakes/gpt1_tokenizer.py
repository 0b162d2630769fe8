"""A small vocabulary of GPT-1's kind, in files as OpenAI's or as transformers writes them."""

import json
from pathlib import Path

from tokenizers import Tokenizer, models

_ALPHABET = "abcdefghijklmnopqrstuvwxyz'\".,:!?-абвгґдеєжзиіїйклмнопрстуфхцчшщьюя"
_MERGES = (
    ("t", "h"),
    ("th", "e</w>"),
    ("h", "e"),
    ("l", "l"),
    ("he", "ll"),
    ("hell", "o</w>"),
    ("c", "a"),
    ("ca", "t</w>"),
    ("o", "n</w>"),
    ("u", "s"),
    ("e", "r</w>"),
    ("us", "er</w>"),
    ("п", "р"),
    ("пр", "и"),
    (".", ".</w>"),
)
_TOKENS = ("<unk>", *_ALPHABET, *(f"{each}</w>" for each in _ALPHABET), *map("".join, _MERGES), "\n</w>")
GPT1_VOCAB_SIZE = len(_TOKENS)


def write_gpt1_tokenizer(folder: Path, *, is_fast: bool = False, tokenization: str | None = None) -> Path:
    """vocab.json and merges.txt, or tokenizer.json, and tokenizer_config.json; returns the folder.

    A line break is a token, as in the real vocabulary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocab = {token: token_id for token_id, token in enumerate(_TOKENS)}
    config = {"tokenizer_class": "OpenAIGPTTokenizer", "unk_token": "<unk>"}
    if tokenization is not None:
        config["tokenization"] = tokenization
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    if is_fast:
        model = models.BPE(vocab=vocab, merges=list(_MERGES), unk_token="<unk>", end_of_word_suffix="</w>")
        Tokenizer(model).save(str(folder / "tokenizer.json"))
    else:
        (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
        merges = "".join(" ".join(pair) + "\n" for pair in _MERGES)
        (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    return folder
