"""A chat completion's answer, whole or in chunks."""

from collections.abc import AsyncIterator
from typing import Any

from gpt2svc.api.openai.logprobs import chat_logprobs
from gpt2svc.api.openai.usage import head_of, usage_of
from gpt2svc.completions.completion import Completion
from gpt2svc.completions.result import CompletionResult


class ChatAnswer:
    def __init__(self, completion: Completion, *, has_logprobs: bool, includes_usage: bool) -> None:
        self._completion = completion
        self._has_logprobs = has_logprobs
        self._includes_usage = includes_usage

    def whole(self, result: CompletionResult) -> dict[str, Any]:
        choices = [
            {
                "index": sequence.index,
                "message": {"role": "assistant", "content": sequence.text, "refusal": None},
                "logprobs": self._logprobs(sequence.tokens),
                "finish_reason": sequence.finish_reason,
                "seed": sequence.seed,
                **({"score": sequence.score} if sequence.score is not None else {}),
            }
            for sequence in result.sequences
        ]
        return {
            **head_of(self._completion, prefix="chatcmpl", kind="chat.completion"),
            "choices": choices,
            "usage": usage_of(self._completion, result),
            "dropped_messages": self._num_dropped,
        }

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        head = head_of(self._completion, prefix="chatcmpl", kind="chat.completion.chunk")
        if self._includes_usage:
            head["usage"] = None
        if self._num_dropped:
            head["dropped_messages"] = self._num_dropped
        result = CompletionResult.empty(self._completion)
        begun: set[int] = set()
        async for piece in self._completion.pieces():
            result.add(piece)
            if piece.index not in begun:
                begun.add(piece.index)
                seed = self._completion.facts.plans[piece.index].seed
                yield _chunk(head, piece.index, {"role": "assistant", "content": ""}, seed=seed)
            if piece.text or (self._has_logprobs and piece.tokens):
                yield _chunk(head, piece.index, {"content": piece.text}, logprobs=self._logprobs(piece.tokens))
            if piece.finish_reason is not None:
                yield _chunk(head, piece.index, {}, finish_reason=piece.finish_reason, score=piece.score)
        if self._includes_usage:
            yield {**head, "choices": [], "usage": usage_of(self._completion, result)}

    @property
    def _num_dropped(self) -> int:
        return self._completion.facts.prompts[0].num_dropped

    def _logprobs(self, tokens: Any) -> dict[str, Any] | None:
        return chat_logprobs(tokens, self._completion.facts.tokenizer) if self._has_logprobs else None


def _chunk(
    head: dict[str, Any],
    index: int,
    delta: dict[str, Any],
    *,
    logprobs: dict[str, Any] | None = None,
    finish_reason: str | None = None,
    seed: int | None = None,
    score: float | None = None,
) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
    if seed is not None:
        choice["seed"] = seed
    if score is not None:
        choice["score"] = score
    return {**head, "choices": [choice]}
