"""A response that leaves nothing behind: a stateless completion that reads like a generation."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from gpt2svc.completions.completion import Completion
from gpt2svc.errors import Gpt2svcError
from gpt2svc.generation.events import Done, Event, Failed, Started, Token
from gpt2svc.generation.token_logprobs import logprobs_mapping
from gpt2svc.responses.head import ResponseHead


@dataclass(frozen=True, slots=True)
class UnstoredResponse:
    """`close` it however its reading ends."""

    head: ResponseHead
    completion: Completion

    async def events(self, *, is_raising: bool = False) -> AsyncIterator[Event]:
        """Once. What goes wrong is the last event, or with `is_raising` is raised."""
        num_tokens = 0
        is_started = False
        try:
            async for piece in self.completion.pieces():
                if not is_started:
                    is_started = True
                    yield self._started()
                for token in piece.tokens:
                    num_tokens += 1
                    logprobs = token.logprobs
                    tokenizer = self.completion.facts.tokenizer
                    kept = logprobs_mapping(logprobs, tokenizer) if logprobs is not None else None
                    yield Token(num_tokens, token.text, token.token_id, kept)
                if piece.finish_reason is not None:
                    usage = self._usage(piece.num_sampled, piece.num_cached)
                    yield Done(num_tokens + 1, "completed", piece.finish_reason, usage=usage, timings={})
        except Gpt2svcError as error:
            if is_raising:
                raise
            yield Failed(num_tokens + 1, "failed", error.code, error.message, usage=None, num_tokens=num_tokens)

    def close(self) -> None:
        self.completion.close()

    def _started(self) -> Started:
        return Started(
            model=self.head.model,
            model_revision=self.head.model_revision,
            prompt_tokens=self.completion.facts.num_prompt_tokens,
            seed=self.head.seed,
            dropped_message_ids=(),
            settings=self.head.settings,
        )

    def _usage(self, num_sampled: int, num_cached: int) -> dict[str, int]:
        num_prompt = self.completion.facts.num_prompt_tokens
        return {
            "prompt_tokens": num_prompt,
            "completion_tokens": num_sampled,
            "total_tokens": num_prompt + num_sampled,
            "cached_tokens": num_cached,
        }
