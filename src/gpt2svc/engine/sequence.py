"""One request's sequence inside the engine. Torch-free."""

import time
from typing import Self

from gpt2svc.engine.types import EngineRequest

NO_SLOT = -1


class Sequence:
    """Prompt and reply as one list of tokens, and how much of it the KV cache holds.

    With beam search this is the request's first beam, and `other_beams` are sequences with slots of their own.

    waiting (no slot) → running (a slot; prefill while more than the last token is uncomputed, then decode) → gone.
    """

    __slots__ = (
        "added_at",
        "num_cached_tokens",
        "num_computed_tokens",
        "num_prompt_tokens",
        "other_beams",
        "request",
        "slot",
        "token_ids",
    )

    def __init__(self, request: EngineRequest) -> None:
        self.request = request
        self.added_at = time.monotonic()
        self.token_ids = list(request.prompt_token_ids)
        self.num_prompt_tokens = len(self.token_ids) - request.num_reply_tokens
        self.num_computed_tokens = 0
        self.num_cached_tokens = 0  # of the prompt, from a reused prefix
        self.slot = NO_SLOT
        self.other_beams: list[Sequence] = []

    @classmethod
    def of_request(cls, request: EngineRequest) -> Self:
        """With as many empty sequences beside it as a beam search needs."""
        sequence = cls(request)
        for _ in range(request.params.num_beams - 1):
            beam = cls(request)
            beam.token_ids = []
            sequence.other_beams.append(beam)
        return sequence

    @property
    def request_id(self) -> str:
        return self.request.request_id

    @property
    def num_slots(self) -> int:
        """Of the KV cache that it takes while it runs."""
        return 1 + len(self.other_beams)

    @property
    def num_uncomputed_tokens(self) -> int:
        return len(self.token_ids) - self.num_computed_tokens

    @property
    def is_only_scored(self) -> bool:
        """Whether it ends with its prompt, scored or pooled."""
        return self.request.params.max_new_tokens == 0

    @property
    def reusable_token_ids(self) -> list[int]:
        """What of the tokens may come from a cached prefix: those that are scored or pooled have to be computed."""
        scoring, pooling = self.request.scoring, self.request.pooling
        if pooling is not None and pooling.kind == "mean":
            return []
        return self.token_ids if scoring is None else self.token_ids[: scoring.start]

    @property
    def num_new_tokens(self) -> int:
        """Length of the reply so far, the part that the request brought included."""
        return len(self.token_ids) - self.num_prompt_tokens

    def next_token_ids(self, count: int) -> list[int]:
        """The first `count` uncomputed tokens."""
        return self.token_ids[self.num_computed_tokens : self.num_computed_tokens + count]
