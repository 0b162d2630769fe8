"""A completion's answer, whole or in chunks."""

from collections.abc import AsyncIterator
from typing import Any

from gpt2svc.api.openai.echo import echoed_texts
from gpt2svc.api.openai.logprobs import LegacyLogprobs
from gpt2svc.api.openai.usage import head_of, usage_of
from gpt2svc.completions.completion import Completion
from gpt2svc.completions.result import CompletionResult, SequenceResult
from gpt2svc.completions.sequence import PromptLogprobs
from gpt2svc.generation.settled_token import SettledToken
from gpt2svc.models.tokenizer import Tokenizer


class CompletionAnswer:
    """`is_echoed`: each text begins with its prompt. A stream has one text for each sequence, without best_of."""

    def __init__(
        self, completion: Completion, *, num_choices: int, is_echoed: bool, has_logprobs: bool, includes_usage: bool
    ) -> None:
        self._completion = completion
        self._num_choices = num_choices
        self._is_echoed = is_echoed
        self._has_logprobs = has_logprobs
        self._includes_usage = includes_usage

    def whole(self, result: CompletionResult) -> dict[str, Any]:
        choices = []
        for index, sequence in enumerate(result.best(self._num_choices)):
            text = self._text(sequence.prompt_index)
            text.add_prompt(sequence.prompt_logprobs)
            text.add_tokens(sequence.tokens, sequence.end_token)
            choices.append(_choice(index, text, sequence.finish_reason, sequence))
        return {
            **head_of(self._completion, prefix="cmpl", kind="text_completion"),
            "choices": choices,
            "usage": usage_of(self._completion, result),
        }

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        head = head_of(self._completion, prefix="cmpl", kind="text_completion")
        if self._includes_usage:
            head["usage"] = None
        result = CompletionResult.empty(self._completion)
        texts: dict[int, _Text] = {}  # by sequence, from its first piece on
        async for piece in self._completion.pieces():
            result.add(piece)
            sequence = result.sequences[piece.index]
            text = texts.get(piece.index)
            if text is None:
                text = texts[piece.index] = self._text(sequence.prompt_index)
                text.add_prompt(sequence.prompt_logprobs)
            text.add_tokens(piece.tokens, piece.end_token)
            if text.is_worth_sending or piece.finish_reason is not None:
                yield {**head, "choices": [_choice(piece.index, text, piece.finish_reason, sequence)]}
        if self._includes_usage:
            yield {**head, "choices": [], "usage": usage_of(self._completion, result)}

    def _text(self, prompt_index: int) -> "_Text":
        prompt = self._completion.facts.prompts[prompt_index].token_ids if self._is_echoed else ()
        return _Text(self._completion.facts.tokenizer, prompt, has_logprobs=self._has_logprobs)


class _Text:
    """One text and its lists, as far as they have not been taken for a chunk."""

    def __init__(self, tokenizer: Tokenizer, prompt: tuple[int, ...], *, has_logprobs: bool) -> None:
        self._prompt = prompt
        self._texts = echoed_texts(tokenizer, prompt)
        self._logprobs = LegacyLogprobs(tokenizer) if has_logprobs else None
        self._text = ""

    def add_prompt(self, scores: PromptLogprobs | None) -> None:
        """The echoed prompt; with `scores` where those were asked for."""
        self._text = "".join(self._texts)
        if self._logprobs is not None and scores is not None:
            self._logprobs.add_prompt(self._prompt, scores, [len(text) for text in self._texts])

    def add_tokens(self, tokens: "list[SettledToken] | tuple[SettledToken, ...]", end: SettledToken | None) -> None:
        self._text += "".join(token.text for token in tokens)
        if self._logprobs is not None:
            self._logprobs.add_tokens([*tokens, *([end] if end is not None else [])])

    @property
    def is_worth_sending(self) -> bool:
        return bool(self._text) or (self._logprobs is not None and self._logprobs.has_tokens)

    def take(self) -> tuple[str, dict[str, Any] | None]:
        text, self._text = self._text, ""
        return text, self._logprobs.take() if self._logprobs is not None else None


def _choice(index: int, text: _Text, finish_reason: str | None, sequence: SequenceResult) -> dict[str, Any]:
    content, logprobs = text.take()
    choice = {"index": index, "text": content, "logprobs": logprobs, "finish_reason": finish_reason}
    score = {} if sequence.score is None else {"score": sequence.score}
    return {**choice, "seed": sequence.seed, **score}
