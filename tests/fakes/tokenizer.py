"""A tiny byte-level BPE in a folder, as a GPT-2 checkpoint has it: 256 bytes, some merges, <|endoftext|>."""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

END_OF_TEXT = "<|endoftext|>"

# Each joins two symbols of the byte alphabet, in order of rank. Ġ is a space; Ð and Ñ start Cyrillic letters in UTF-8,
# and the last merge ends in half a letter, so that a token's boundary can fall inside a character.
MERGES = (
    ("h", "e"),
    ("l", "l"),
    ("he", "ll"),
    ("hell", "o"),
    ("Ġ", "t"),
    ("Ġt", "he"),
    ("Ġ", "a"),
    ("i", "n"),
    ("in", "g"),
    ("e", "r"),
    ("U", "s"),
    ("Us", "er"),
    ("Ð", "¸"),
    ("Ñ", "Ģ"),
    ("ÑĢ", "Ð"),
)
TINY_VOCAB_SIZE = 256 + len(MERGES) + 1
TINY_EOS_ID = TINY_VOCAB_SIZE - 1


def tiny_tokenizer() -> Tokenizer:
    """The `tokenizers` object itself: ids 0-255 are bytes in GPT-2's order, then the merges, then <|endoftext|>."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in MERGES)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=list(MERGES)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return tokenizer


def write_tokenizer_folder(folder: Path) -> Path:
    """Write tokenizer.json into `folder` (made where missing) and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder
