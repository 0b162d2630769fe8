"""GPT-1's kind of vocabulary: lower-case words, cut by a BPE whose tokens know where a word ends."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from gpt2svc.errors import ModelFormatError
from gpt2svc.models.original_tokenization import INSTALL_HINT, Words, is_available, original_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import BPE

# "original": OpenAI's, by ftfy and spaCy. "standard": that of transformers, which drops line breaks and accents.
Tokenization = Literal["byte-level", "original", "standard"]

WORD_END: Final = "</w>"
UNKNOWN: Final = "<unk>"


def looks_like_gpt1(vocab: Mapping[str, Any]) -> bool:
    """Of a vocabulary that no file says more about: it has ends of words, and no byte-level space."""
    return any(token.endswith(WORD_END) for token in vocab) and not any(token.startswith("Ġ") for token in vocab)


def gpt1_model(vocab: Mapping[str, int], merges: Sequence[tuple[str, str]], unk_token: str | None) -> "BPE":
    from tokenizers.models import BPE

    unknown = unk_token or UNKNOWN
    return BPE(
        vocab=dict(vocab),
        merges=list(merges),
        end_of_word_suffix=WORD_END,
        unk_token=unknown if unknown in vocab else None,
        fuse_unk=False,
    )


def resolve_tokenization(recorded: str | None, folder: Path) -> Tokenization:
    """What the model was trained with, as tokenizer_config.json's `tokenization` says; else the best there is.

    Raises ModelFormatError where it is of no known kind, or needs packages that are not installed: another one would
    make the model read other tokens than it has learned.
    """
    if recorded is None:
        return "original" if is_available() else "standard"
    if recorded == "standard":
        return "standard"
    if recorded != "original":
        raise ModelFormatError(
            f"{folder}: tokenization is {recorded[:40]!r}; supported are 'original' and 'standard'.",
            field="tokenization",
        )
    if not is_available():
        raise ModelFormatError(
            f"{folder} was made with GPT-1's original tokenisation, which needs ftfy and spaCy: {INSTALL_HINT}.",
            field="tokenization",
        )
    return "original"


def prepare_backend(backend: "Backend", tokenization: Tokenization) -> Words | None:
    """Set it up for whole texts; with the original tokenisation it encodes words, by the function that is returned."""
    from tokenizers import normalizers, pre_tokenizers

    if tokenization == "original":
        backend.normalizer = None
        backend.pre_tokenizer = None
        return original_words()
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return None
