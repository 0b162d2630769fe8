"""The text side of a model: GPT-2's byte-level BPE, or GPT-1's of words. Text to token ids and back."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gpt2svc.errors import InvalidInputError
from gpt2svc.models.gpt1_tokenization import Tokenization
from gpt2svc.models.tokenizer_files import Vocabulary, read_vocabulary

if TYPE_CHECKING:
    from gpt2svc.models.chat_template import ChatTemplate


class Tokenizer:
    """Text to token ids and back. Safe to share between threads; takes time linear in the length of the text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._chat_template: ChatTemplate | None = None
        self._token_bytes = vocabulary.token_bytes
        added = vocabulary.backend.get_added_tokens_decoder()
        self._special_tokens = {token.content: token_id for token_id, token in added.items() if token.special}
        longest_first = sorted(self._special_tokens, key=len, reverse=True)
        spellings = "|".join(map(re.escape, longest_first))
        self._special_pattern = re.compile(f"({spellings})") if spellings else None

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """The tokenizer of the model in `folder`: tokenizer.json, else vocab.json and merges.txt.

        Raises ModelFormatError where these are missing, broken or neither GPT-2's kind nor GPT-1's.
        """
        return cls(read_vocabulary(folder))

    def with_chat_template(self, template: "ChatTemplate | None") -> Self:
        """The same, for a model that was trained on conversations in a format of its own."""
        tokenizer = type(self)(self._vocabulary)
        tokenizer._chat_template = template
        return tokenizer

    @property
    def chat_template(self) -> "ChatTemplate | None":
        """None: the model reads conversations in this project's own format."""
        return self._chat_template

    @property
    def tokenization(self) -> Tokenization:
        """How text is cut: "byte-level", or of GPT-1 "original" or "standard"."""
        return self._vocabulary.tokenization

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

    def token_id(self, spelling: str) -> int | None:
        """Of the token that the vocabulary spells so; None where there is none."""
        number: int | None = self._vocabulary.backend.token_to_id(spelling)
        return number

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
        backend, words = self._vocabulary.backend, self._vocabulary.words
        # NOTE: the batch call releases the GIL, the single one holds it: 2.5 s for 3 MB of one letter.
        if words is None:
            return list(backend.encode_batch_fast([text], add_special_tokens=False)[0].ids)
        encoded = backend.encode_batch_fast([words(text)], is_pretokenized=True, add_special_tokens=False)
        return list(encoded[0].ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; special tokens are left out, bytes that are not UTF-8 become U+FFFD."""
        token_bytes, word_ends = self._token_bytes, self._vocabulary.word_ends
        if not word_ends:
            return b"".join([token_bytes.get(token_id, b"") for token_id in ids]).decode("utf-8", "replace")
        return b"".join(self.spell(ids)).decode("utf-8", "replace")

    def spell(self, ids: Iterable[int], *, after: int | None = None) -> Iterator[bytes]:
        """Each token's share of the text that they make up together, after the token `after` where there is one.

        In GPT-1's vocabulary the space before a token is for the token before to say; else it is `token_bytes`.
        """
        has_space = after in self._vocabulary.word_ends
        for token_id in ids:
            own = self._token_bytes.get(token_id, b"")
            yield b" " + own if has_space and own else own
            if own:
                has_space = token_id in self._vocabulary.word_ends

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for, perhaps only part of a character.

        Empty for special tokens and for ids that no token has: rows that pad the model's embedding. A token that ends
        a word has the space after it here, where it stands alone.
        """
        own = self._token_bytes.get(token_id, b"")
        return own + b" " if token_id in self._vocabulary.word_ends else own

    def token_text(self, token_id: int) -> str:
        """What a token stands for alone: a part of a character shows as U+FFFD."""
        return self.token_bytes(token_id).decode("utf-8", "replace")
