"""SpecialTokens: what the small files beside a vocabulary say about its special and added tokens."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from gpt2svc.models.json_file import read_json_object

TOKENIZER_CONFIG_NAME: Final = "tokenizer_config.json"
SPECIAL_TOKENS_NAME: Final = "special_tokens_map.json"
ADDED_TOKENS_NAME: Final = "added_tokens.json"

_MAX_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """`special` are spellings, bos and eos among them; `added` are (id, spelling) beyond the vocabulary, by id."""

    bos_token: str | None
    eos_token: str | None
    special: tuple[str, ...]
    added: tuple[tuple[int, str], ...]
    add_prefix_space: bool
    tokenizer_class: str | None = None  # as transformers names it
    unk_token: str | None = None
    tokenization: str | None = None  # of GPT-1, where it was recorded: "original" or "standard"

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Of tokenizer_config.json, special_tokens_map.json and added_tokens.json, each of which may be missing.

        Raises ModelFormatError where one is there and is not JSON. Entries of an unknown shape are skipped.
        """
        named = _read(folder / SPECIAL_TOKENS_NAME) | _read(folder / TOKENIZER_CONFIG_NAME)
        added = {
            token_id: spelling
            for spelling, token_id in _read(folder / ADDED_TOKENS_NAME).items()
            if isinstance(token_id, int)
        }
        special: list[str] = []
        decoder = named.get("added_tokens_decoder")
        for key, entry in decoder.items() if isinstance(decoder, dict) else ():
            spelling = _spelling(entry)
            if spelling is None or not (key.isascii() and key.isdigit() and len(key) < 10):
                continue
            added[int(key)] = spelling
            if entry.get("special") is True:
                special.append(spelling)
        for key, value in named.items():
            if key in ("additional_special_tokens", "extra_special_tokens"):
                entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
                special.extend(filter(None, map(_spelling, entries)))
            elif key.endswith("_token"):
                special.extend(filter(None, (_spelling(value),)))
        return cls(
            bos_token=_spelling(named.get("bos_token")),
            eos_token=_spelling(named.get("eos_token")),
            special=tuple(dict.fromkeys(special)),
            added=tuple(sorted(added.items())),
            add_prefix_space=named.get("add_prefix_space") is True,
            tokenizer_class=_text(named.get("tokenizer_class")),
            unk_token=_spelling(named.get("unk_token")),
            tokenization=_text(named.get("tokenization")),
        )


def _read(path: Path) -> dict[str, Any]:
    """Its keys that are not null; nothing where there is no such file."""
    if not path.is_file():
        return {}
    return {key: value for key, value in read_json_object(path, max_bytes=_MAX_BYTES).items() if value is not None}


def _text(entry: Any) -> str | None:
    return entry if isinstance(entry, str) else None


def _spelling(entry: Any) -> str | None:
    """Of a token given as a string or as an object with `content`."""
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) and entry else None
