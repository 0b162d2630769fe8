"""Likelihood: perplexity, bits per byte, word perplexity and next-token accuracy of a model on given texts."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gpt2svc.errors import InvalidInputError
from gpt2svc.evaluation.examples import Example
from gpt2svc.evaluation.scorer import Scorer
from gpt2svc.evaluation.windows import Window, windows
from gpt2svc.models.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Exact sums over all scored tokens; `nats` is their negative log-likelihood.

    `num_bytes` and `num_words` are those of the text that the scored tokens spell: end markers spell nothing.
    `num_correct` were the model's first choice; None where that is not known.
    """

    nats: float
    num_tokens: int
    num_correct: int | None
    num_bytes: int
    num_words: int

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nats / self.num_tokens

    @property
    def perplexity(self) -> float:
        return _exp(self.loss)

    @property
    def bits_per_byte(self) -> float | None:
        return self.nats / math.log(2) / self.num_bytes if self.num_bytes else None

    @property
    def word_perplexity(self) -> float | None:
        """The number of words is that of runs between white space, so it doesn't depend on the vocabulary."""
        return _exp(self.nats / self.num_words) if self.num_words else None

    @property
    def accuracy(self) -> float | None:
        return None if self.num_correct is None else self.num_correct / self.num_tokens


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """Token ids with the end marker; those from `first_scored` on are scored."""

    token_ids: np.ndarray
    first_scored: int
    num_bytes: int
    num_words: int

    def windows(self, size: int, stride: int) -> Iterator[Window]:
        return windows(self.token_ids, size, stride=stride, first_scored=self.first_scored)


def encode_example(example: Example, tokenizer: Tokenizer, end_token_id: int | None) -> EncodedExample:
    """A text is scored after its first token, which nothing predicts; a completion from its first token on.

    Prompt and completion are encoded apart, since that is how the completion is generated. `end_token_id`, where there
    is one, ends both and is scored.
    """
    prompt_ids = tokenizer.encode(example.prompt) if example.prompt is not None else []
    text_ids = tokenizer.encode(example.text)
    first_scored = max(len(prompt_ids), 1)
    unscored = tokenizer.token_bytes(text_ids[0]) if not prompt_ids and text_ids else b""
    scored_text = example.text.encode("utf-8")[len(unscored) :]
    end = [] if end_token_id is None else [end_token_id]
    return EncodedExample(
        token_ids=np.asarray([*prompt_ids, *text_ids, *end], dtype=np.int64),
        first_scored=first_scored,
        num_bytes=len(scored_text),
        num_words=len(scored_text.decode("utf-8", "replace").split()),
    )


def measure_likelihood(
    scorer: Scorer,
    examples: Sequence[EncodedExample],
    *,
    window: int,
    stride: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Likelihood:
    """Of all `examples` together. `on_progress` hears (tokens read, tokens in all).

    Raises InvalidInputError where nothing can be scored: each text is a single token.
    """
    num_all = sum(part.num_inputs for example in examples for part in example.windows(window, stride))
    num_read = 0

    def report(count: int) -> None:
        nonlocal num_read
        num_read += count
        if on_progress is not None:
            on_progress(num_read, num_all)

    score = scorer.score((part for example in examples for part in example.windows(window, stride)), report)
    if score.num_tokens == 0:
        raise InvalidInputError("There is nothing to score: every text is a single token.", field="data")
    return Likelihood(
        nats=score.nats,
        num_tokens=score.num_tokens,
        num_correct=score.num_correct,
        num_bytes=sum(example.num_bytes for example in examples),
        num_words=sum(example.num_words for example in examples),
    )


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
