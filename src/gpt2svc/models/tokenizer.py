"""The text side of a model: GPT-2's byte-level BPE. Text to token ids and back."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from gpt2svc.errors import InvalidInputError
from gpt2svc.models.tokenizer_files import Vocabulary, read_vocabulary


class Tokenizer:
    """Text to token ids and back. Safe to share between threads; takes time linear in the length of the text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._token_bytes = vocabulary.token_bytes
        added = vocabulary.backend.get_added_tokens_decoder()
        self._special_tokens = {token.content: token_id for token_id, token in added.items() if token.special}
        longest_first = sorted(self._special_tokens, key=len, reverse=True)
        spellings = "|".join(map(re.escape, longest_first))
        self._special_pattern = re.compile(f"({spellings})") if spellings else None

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """The tokenizer of the model in `folder`: tokenizer.json, else vocab.json and merges.txt.

        Raises ModelFormatError where these are missing, broken or not a byte-level BPE.
        """
        return cls(read_vocabulary(folder))

    @property
    def vocab_size(self) -> int:
        """One more than the largest id. The model's embedding may have more rows (padding), never fewer in use."""
        return self._vocabulary.size

    @property
    def max_encodable_id(self) -> int:
        """The largest id that `encode` can return: the model's vocabulary must be larger."""
        return self._vocabulary.max_encodable_id

    @property
    def eos_token_id(self) -> int | None:
        return self._vocabulary.eos_token_id

    @property
    def bos_token_id(self) -> int | None:
        return self._vocabulary.bos_token_id

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Spelling of each special token, and its id."""
        return self._special_tokens

    def encode_marked(self, text: str) -> list[int]:
        """As `encode`, but the spelling of a special token stands for that token: for who writes the whole prompt."""
        if self._special_pattern is None:
            return self.encode(text)
        ids: list[int] = []
        for part in self._special_pattern.split(text):
            if part:
                special = self._special_tokens.get(part)
                ids += self.encode(part) if special is None else [special]
        return ids

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, with nothing added: every string is ordinary text here.

        The spelling of a special token, `<|endoftext|>` say, is encoded as the characters that it consists of, so
        that a user can't end a turn by typing it. Raises InvalidInputError for lone surrogates.
        """
        if not text.isascii():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise InvalidInputError(
                    f"The text holds a lone surrogate (U+{ord(text[error.start]):04X} at character {error.start}), "
                    "which is not valid Unicode."
                ) from error
        # NOTE: the batch call releases the GIL, the single one holds it: 2.5 s for 3 MB of one letter.
        return list(self._vocabulary.backend.encode_batch_fast([text], add_special_tokens=False)[0].ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; special tokens are left out, bytes that are not UTF-8 become U+FFFD."""
        token_bytes = self._token_bytes
        return b"".join([token_bytes.get(token_id, b"") for token_id in ids]).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for, perhaps only part of a character.

        Empty for special tokens and for ids that no token has: rows that pad the model's embedding.
        """
        return self._token_bytes.get(token_id, b"")
