"""A new model's vocabulary: a byte-level BPE learned from the text, or the user's own vocab.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.chat_template import CHAT_TEMPLATE
from gpt2svc.training.transcript import END_OF_TEXT

PADDING = "<|pad|>"
MAX_TOKENS = 1_000_000
_END_SPELLINGS = (END_OF_TEXT, "<eos>", "</s>", "[EOS]", "<EOS>", "<|eos|>", "<end>")
_PAD_SPELLINGS = (PADDING, "<pad>", "[PAD]", "<PAD>")
_OTHER_SPECIAL = (
    "<bos>",
    "<s>",
    "[BOS]",
    "<BOS>",
    "<|bos|>",
    "<unk>",
    "[UNK]",
    "<UNK>",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "<mask>",
)


def learned_vocabulary(texts: Iterable[str], vocab_size: int, n_positions: int) -> dict[str, bytes]:
    """Tokenizer files of a byte-level BPE of at most `vocab_size` tokens, end and padding included; any string
    round-trips."""
    tokenizer = Tokenizer(models.BPE())
    _make_byte_level(tokenizer)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _files(tokenizer, END_OF_TEXT, PADDING, n_positions)


def own_vocabulary(path: Path, n_positions: int) -> dict[str, bytes]:
    """Tokenizer files for the user's vocab.json, `{"token": id}`. With merges.txt beside it it is a byte-level BPE;
    alone, each entry is a token that stands for itself, and white space between tokens doesn't count.

    A token for the end of a document and one for padding are added where the file has none. Raises InvalidInputError.
    """
    vocab = _read_vocab(path)
    end = next((spelling for spelling in _END_SPELLINGS if spelling in vocab), END_OF_TEXT)
    pad = next((spelling for spelling in _PAD_SPELLINGS if spelling in vocab), PADDING)
    merges_path = path.with_name("merges.txt")
    has_merges = merges_path.is_file()
    for added in (end, pad):
        vocab.setdefault(added, max(vocab.values()) + 1)
    try:
        tokenizer = Tokenizer(
            models.BPE.from_file(str(path), str(merges_path)) if has_merges else models.BPE(vocab=vocab, merges=[])
        )
    except Exception as error:  # the library's only exception class
        raise InvalidInputError(f"{path} and {merges_path.name} don't fit together: {error}.", field="vocab") from error
    _make_byte_level(tokenizer)
    special = [spelling for spelling in (end, pad, *_OTHER_SPECIAL) if spelling in vocab]
    tokenizer.add_special_tokens([AddedToken(spelling, special=True, normalized=False) for spelling in special])
    if not has_merges:
        plain = sorted((spelling for spelling in vocab if spelling not in special), key=vocab.__getitem__)
        tokenizer.add_tokens([AddedToken(spelling, lstrip=True, rstrip=True, normalized=False) for spelling in plain])
    wrong = [spelling for spelling, number in vocab.items() if tokenizer.token_to_id(spelling) != number]
    if wrong:
        raise InvalidInputError(f"{path}: the token {wrong[0]!r:.40} can't keep its id.", field="vocab")
    return _files(tokenizer, end, pad, n_positions)


def _make_byte_level(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)


def _read_vocab(path: Path) -> dict[str, int]:
    try:
        vocab: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidInputError(f"Can't read the vocabulary {path}: {error.strerror}.", field="vocab") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"The vocabulary {path} is not JSON: {error}.", field="vocab") from error
    if not isinstance(vocab, Mapping) or not vocab or not all(type(number) is int for number in vocab.values()):
        raise InvalidInputError(f'The vocabulary {path} must be an object: {{"token": id, …}}.', field="vocab")
    if len(vocab) > MAX_TOKENS:
        raise InvalidInputError(f"The vocabulary {path} has more than {MAX_TOKENS} tokens.", field="vocab")
    if sorted(vocab.values()) != list(range(len(vocab))):
        raise InvalidInputError(
            f"The vocabulary {path} must number its {len(vocab)} tokens from 0 to {len(vocab) - 1}, each once.",
            field="vocab",
        )
    if "" in vocab:
        raise InvalidInputError(f"The vocabulary {path} has an empty token.", field="vocab")
    return dict(vocab)


def _files(tokenizer: Tokenizer, end: str, pad: str, n_positions: int) -> dict[str, bytes]:
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "bos_token": end,
        "eos_token": end,
        "pad_token": pad,
        "unk_token": end,
        "model_max_length": n_positions,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    return {
        "tokenizer.json": tokenizer.to_str(pretty=False).encode(),
        "tokenizer_config.json": (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(),
    }
