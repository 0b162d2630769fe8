"""Vocabulary: a model folder's tokenizer files, read and checked. Imports `tokenizers` when it is called."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpt2svc.errors import ModelFormatError
from gpt2svc.models.folder_links import check_inside
from gpt2svc.models.gpt1_tokenization import (
    WORD_END,
    Tokenization,
    gpt1_model,
    looks_like_gpt1,
    prepare_backend,
    resolve_tokenization,
)
from gpt2svc.models.json_file import parse_json_object, read_bytes
from gpt2svc.models.original_tokenization import Words
from gpt2svc.models.special_tokens import (
    ADDED_TOKENS_NAME,
    SPECIAL_TOKENS_NAME,
    TOKENIZER_CONFIG_NAME,
    SpecialTokens,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

TOKENIZER_NAME: Final = "tokenizer.json"
VOCAB_NAME: Final = "vocab.json"
MERGES_NAME: Final = "merges.txt"
TOKENIZER_FILES: Final = (
    TOKENIZER_NAME,
    VOCAB_NAME,
    MERGES_NAME,
    TOKENIZER_CONFIG_NAME,
    SPECIAL_TOKENS_NAME,
    ADDED_TOKENS_NAME,
)

_END_OF_TEXT: Final = "<|endoftext|>"  # GPT-2's own, where the files name no other
_MAX_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A byte-level BPE, or GPT-1's, whose tokens end words. `token_bytes` maps each id to the bytes that it stands for,
    special tokens to none.
    """

    backend: "Backend"
    token_bytes: Mapping[int, bytes]
    size: int  # largest id + 1
    max_encodable_id: int
    bos_token_id: int | None
    eos_token_id: int | None
    tokenization: Tokenization = "byte-level"
    word_ends: frozenset[int] = frozenset()  # ids of tokens that end a word: a space comes before the next one
    words: Words | None = None  # cuts a text into words, where `backend` doesn't do it


def read_vocabulary(folder: Path) -> Vocabulary:
    """Of the model in `folder`. Raises ModelFormatError, which says what to do, for missing or broken files."""
    for name in TOKENIZER_FILES:
        check_inside(folder, folder / name)
    special = SpecialTokens.from_folder(folder)
    if (folder / TOKENIZER_NAME).is_file():
        backend = _from_tokenizer_json(folder / TOKENIZER_NAME)
    elif (folder / VOCAB_NAME).is_file() and (folder / MERGES_NAME).is_file():
        backend = _from_vocab_and_merges(folder, special)
    else:
        raise ModelFormatError(
            f"{folder} has no tokenizer: put {TOKENIZER_NAME}, or {VOCAB_NAME} and {MERGES_NAME}, beside the weights. "
            "For a fine-tune of GPT-2 these are the files of the model that it was made from.",
            field=TOKENIZER_NAME,
        )
    is_gpt1 = _ends_words(backend)
    tokenization: Tokenization = "byte-level"
    words = None
    if is_gpt1:
        tokenization = resolve_tokenization(special.tokenization, folder)
        words = prepare_backend(backend, tokenization)
    bos_token = special.bos_token or _END_OF_TEXT
    eos_token = special.eos_token or _END_OF_TEXT
    unknown = (backend.model.unk_token,) if is_gpt1 and backend.model.unk_token else ()
    _mark_special(backend, (bos_token, eos_token, *unknown, *special.special))

    # No special token may come out of a user's text, whatever that spells.
    backend.encode_special_tokens = True
    backend.no_truncation()
    backend.no_padding()

    added = backend.get_added_tokens_decoder()
    special_ids = {token_id for token_id, token in added.items() if token.special}
    bytes_of = _word_bytes if is_gpt1 else _byte_decoder()
    token_bytes: dict[int, bytes] = {}
    for token, token_id in backend.get_vocab(with_added_tokens=True).items():
        if token_id in special_ids:
            token_bytes[token_id] = b""
        else:
            token_bytes[token_id] = token.encode("utf-8") if token_id in added else bytes_of(token)
    encodable = token_bytes.keys() - special_ids
    if is_gpt1:
        vocab = backend.get_vocab(with_added_tokens=False)
        encodable |= {vocab[spelling] for spelling in unknown}
    if not encodable:
        raise ModelFormatError(f"The tokenizer in {folder} has an empty vocabulary.", field=TOKENIZER_NAME)
    return Vocabulary(
        backend=backend,
        token_bytes=token_bytes,
        size=max(token_bytes) + 1,
        max_encodable_id=max(encodable),
        bos_token_id=backend.token_to_id(bos_token),
        eos_token_id=backend.token_to_id(eos_token),
        tokenization=tokenization,
        word_ends=_word_ends(backend) if is_gpt1 else frozenset(),
        words=words,
    )


def _word_ends(backend: "Backend") -> frozenset[int]:
    vocab = backend.get_vocab(with_added_tokens=False)
    return frozenset(token_id for token, token_id in vocab.items() if token.endswith(WORD_END))


def _ends_words(backend: "Backend") -> bool:
    """Whether it is GPT-1's kind."""
    return getattr(backend.model, "end_of_word_suffix", None) == WORD_END


def _byte_decoder() -> Callable[[str], bytes]:
    """Undoes GPT-2's spelling of bytes as printable characters.

    A byte is spelled as itself where it is visible Latin-1, else from U+0100 on, in order. A token with any other
    character is not spelled that way and stands for its own UTF-8.
    """
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = sorted(set(range(256)) - visible)
    # U+FFFF, which Latin-1 lacks, marks what is no spelling.
    table = {0x100 + i: byte for i, byte in enumerate(hidden)} | dict.fromkeys(hidden, 0xFFFF)

    def decode(token: str) -> bytes:
        try:
            return token.translate(table).encode("latin-1")
        except UnicodeEncodeError:
            return token.encode("utf-8")

    return decode


def _word_bytes(token: str) -> bytes:
    return token.removesuffix(WORD_END).encode("utf-8")


def _mark_special(backend: "Backend", spellings: Iterable[str]) -> None:
    """Make those that the vocabulary has special, so that `encode` never returns them."""
    from tokenizers import AddedToken

    known = [spelling for spelling in spellings if backend.token_to_id(spelling) is not None]
    backend.add_special_tokens([AddedToken(spelling, special=True, normalized=False) for spelling in known])


def _from_tokenizer_json(path: Path) -> "Backend":
    from tokenizers import Tokenizer as Backend

    content = read_bytes(path, max_bytes=_MAX_BYTES)
    described = parse_json_object(content, source=path.name)
    model = described.get("model")
    kind = model.get("type", "BPE") if isinstance(model, dict) else None
    ends_words = isinstance(model, dict) and model.get("end_of_word_suffix") == WORD_END
    if kind != "BPE" or not (ends_words or _has_byte_level(described.get("pre_tokenizer"))):
        raise ModelFormatError(
            f"{path.name} is neither a byte-level BPE, GPT-2's kind of tokenizer, nor GPT-1's (its model is "
            f"{str(kind)[:40]!r}); other kinds are not supported.",
            field=path.name,
        )
    try:
        backend = Backend.from_str(content.decode("utf-8"))
    except Exception as error:  # the library raises the bare class
        raise ModelFormatError(f"{path.name} can't be loaded: {str(error)[:200]}.", field=path.name) from error
    backend.model.dropout = None  # a setting for training, which would make encoding random
    return backend


def _has_byte_level(pre_tokenizer: Any) -> bool:
    if not isinstance(pre_tokenizer, dict):
        return False
    inner = pre_tokenizer.get("pretokenizers")
    return pre_tokenizer.get("type") == "ByteLevel" or (isinstance(inner, list) and any(map(_has_byte_level, inner)))


def _from_vocab_and_merges(folder: Path, special: SpecialTokens) -> "Backend":
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Backend

    vocab = parse_json_object(read_bytes(folder / VOCAB_NAME, max_bytes=_MAX_BYTES), source=VOCAB_NAME)
    merges = _read_merges(folder / MERGES_NAME)
    is_gpt1 = (special.tokenizer_class or "").startswith("OpenAIGPT") or looks_like_gpt1(vocab)
    try:
        backend = Backend(
            gpt1_model(vocab, merges, special.unk_token) if is_gpt1 else models.BPE(vocab=vocab, merges=merges)
        )
    except Exception as error:  # the library raises the bare class
        raise ModelFormatError(
            f"{VOCAB_NAME} and {MERGES_NAME} don't fit together: {str(error)[:200]}.", field=VOCAB_NAME
        ) from error
    if not is_gpt1:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=special.add_prefix_space)
        backend.decoder = decoders.ByteLevel()
    for token_id, spelling in special.added:
        if backend.token_to_id(spelling) is None:
            backend.add_tokens([AddedToken(spelling, normalized=False)])
        if backend.token_to_id(spelling) != token_id:
            raise ModelFormatError(
                f"The added token {spelling[:40]!r} can't have the id {token_id}: {VOCAB_NAME} has another length.",
                field=VOCAB_NAME,
            )
    return backend


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        lines = read_bytes(path, max_bytes=_MAX_BYTES).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{path.name} is not UTF-8 text.", field=path.name) from error
    merges: list[tuple[str, str]] = []
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r")
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.partition(" ")
        if not left or not right or " " in right:
            raise ModelFormatError(f"{path.name}, line {number}: two symbols are expected.", field=path.name)
        merges.append((left, right))
    return merges
