"""Log-probabilities in the two shapes that OpenAI's interface has."""

from collections.abc import Iterable, Sequence
from typing import Any

from gpt2svc.completions.token_text import token_text
from gpt2svc.engine.types import TokenLogprobs
from gpt2svc.generation.settled_token import SettledToken
from gpt2svc.generation.token_logprobs import MIN_LOGPROB
from gpt2svc.models.tokenizer import Tokenizer


def chat_logprobs(tokens: Iterable[SettledToken], tokenizer: Tokenizer) -> dict[str, Any]:
    content = []
    for token in tokens:
        if token.logprobs is not None:
            top = [_entry(token_id, logprob, tokenizer) for token_id, logprob in token.logprobs.top]
            content.append({**_entry(token.token_id, token.logprobs.logprob, tokenizer), "top_logprobs": top})
    return {"content": content, "refusal": None}


def _entry(token_id: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "token": token_text(tokenizer, token_id),
        "logprob": max(logprob, MIN_LOGPROB),
        "bytes": list(tokenizer.token_bytes(token_id)),
    }


class LegacyLogprobs:
    """The lists of the completions endpoint, for one text from its first token on; `take` them as often as is wanted.

    They hold every token, also one without text: an end-of-text token that the model chose stands last.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._offset = 0  # characters of the text so far
        self._lists = _no_tokens()

    @property
    def has_tokens(self) -> bool:
        return bool(self._lists["tokens"])

    def add_prompt(
        self, token_ids: Sequence[int], scores: Sequence[TokenLogprobs | None], lengths: Sequence[int]
    ) -> None:
        """An echoed prompt; `lengths` are its tokens' shares of the text, in characters."""
        for token_id, logprobs, length in zip(token_ids, scores, lengths, strict=True):
            self._add(token_id, logprobs, length)

    def add_tokens(self, tokens: Iterable[SettledToken]) -> None:
        for token in tokens:
            self._add(token.token_id, token.logprobs, len(token.text))

    def take(self) -> dict[str, list[Any]]:
        """What came since the last call."""
        lists, self._lists = self._lists, _no_tokens()
        return lists

    def _add(self, token_id: int, logprobs: TokenLogprobs | None, length: int) -> None:
        text = token_text(self._tokenizer, token_id)
        self._lists["tokens"].append(text)
        self._lists["text_offset"].append(self._offset)
        self._offset += length
        if logprobs is None:
            self._lists["token_logprobs"].append(None)
            self._lists["top_logprobs"].append(None)
            return
        logprob = max(logprobs.logprob, MIN_LOGPROB)
        top = {token_text(self._tokenizer, other): max(value, MIN_LOGPROB) for other, value in logprobs.top}
        self._lists["token_logprobs"].append(logprob)
        self._lists["top_logprobs"].append({**top, text: logprob})


def _no_tokens() -> dict[str, list[Any]]:
    return {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
