"""The drafts of one step, verified token by token. Torch-free."""

from collections.abc import Sequence as Many
from dataclasses import replace

from gpt2svc.engine.scheduler import Scheduled
from gpt2svc.engine.types import TokenOutput


class Verification:
    """Which drafts are right so far. A token is sampled from a draft's row only once those before it are right: then
    it is chosen from the logits, the history and the random draw that it would have had in a step of its own.
    """

    def __init__(self, sampled: Many[Scheduled], first_rows: Many[int], replies: list[TokenOutput]) -> None:
        """What was sampled in the step, the rows of its logits, and the outputs with the first token of each, to which
        the further ones are added. The rows of a draft follow the first one.
        """
        self._sampled = sampled
        self._first_rows = first_rows
        self._replies = replies
        self._places = [place for place, item in enumerate(sampled) if item.draft]
        self._depth = 0

    def advance(self) -> list[Scheduled]:
        """Those whose last token was the next one of their draft, and that go on."""
        self._places = [place for place in self._places if self._is_right(place)]
        self._depth += 1
        return [self._sampled[place] for place in self._places]

    @property
    def rows(self) -> list[int]:
        """Where the logits of the sequences are that `advance` has named."""
        return [self._first_rows[place] + self._depth for place in self._places]

    def add(self, outputs: Many[TokenOutput]) -> None:
        """One more token for each of these sequences, or its end."""
        for place, more in zip(self._places, outputs, strict=True):
            reply = self._replies[place]
            self._replies[place] = replace(
                reply,
                token_ids=reply.token_ids + more.token_ids,
                logprobs=None if reply.logprobs is None else reply.logprobs + (more.logprobs or ()),
                finish_reason=more.finish_reason,
                error=more.error,
            )

    def _is_right(self, place: int) -> bool:
        draft, reply = self._sampled[place].draft, self._replies[place]
        return self._depth < len(draft) and reply.finish_reason is None and reply.token_ids[-1] == draft[self._depth]
