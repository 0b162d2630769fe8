"""`gpt2svc chat` without a service: the conversation lives in this process and ends with it."""

from collections.abc import Iterator, Mapping
from typing import Any

from gpt2svc.chat.prompt import TURN_LABELS, PromptBudget, build_prompt, encode_messages
from gpt2svc.chat.unstored_message import unstored_message
from gpt2svc.cli.local_engine import LocalEngine, LocalReply
from gpt2svc.engine.types import EngineRequest
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.drawn_seed import drawn_seed
from gpt2svc.generation.reply_ends import stop_strings_of, stop_token_ids_of
from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.persistence.records import MessageRecord


class LocalChat:
    """The same prompts and replies as the service makes, on an engine in this process."""

    def __init__(self, engine: LocalEngine, budget: PromptBudget) -> None:
        self._engine = engine
        self._budget = budget
        self._messages: list[MessageRecord] = []
        self._dropped_ids: tuple[str, ...] = ()
        self._num_replies = 0
        self.ending = ""

    def new(self) -> None:
        self._messages = []
        self._dropped_ids = ()

    def reply(self, content: str, settings: Mapping[str, Any]) -> Iterator[str]:
        """The pieces of the reply to `content`. A reply that is cut short stays in the conversation as it is."""
        self.ending = ""
        local_reply = self._begin(content, settings)
        text = ""
        try:
            for _, settled in self._engine.write([local_reply]):
                for token in settled:
                    text += token.text
                    yield token.text
        finally:
            self._messages.append(unstored_message("assistant", text, message_id=f"reply_{self._num_replies}"))
        if local_reply.finish_reason == "length":
            self.ending = "cut at max_new_tokens"

    def stop(self) -> None:
        """Nothing is left to do: the interrupt has already ended the reply."""

    def _begin(self, content: str, settings: Mapping[str, Any]) -> LocalReply:
        if "\x00" in content:
            raise InvalidInputError("The message holds a NUL character.", field="content")
        sampling = SamplingSettings.from_mapping(settings)
        sampling.require_asked(settings)
        sampling = sampling.as_applied()
        max_tokens = self._budget.num_prompt_tokens(self._engine.info.n_positions, sampling.max_new_tokens)
        message = unstored_message("user", content, message_id=f"message_{self._num_replies}")
        prompt = build_prompt(
            [*self._messages, message],
            self._engine.tokenizer,
            max_tokens=max_tokens,
            max_messages=self._budget.max_messages,
            dropped_before=self._dropped_ids,
        )
        self._num_replies += 1
        self._messages.append(message)
        self._dropped_ids = prompt.dropped_message_ids
        seed = drawn_seed() if sampling.seed is None else sampling.seed
        request = EngineRequest(
            request_id=str(self._num_replies),
            prompt_token_ids=prompt.token_ids,
            params=sampling.to_params(
                seed=seed, stop_token_ids=stop_token_ids_of(self._engine.tokenizer, is_reply=True)
            ),
        )
        tokenizer = self._engine.tokenizer
        stop_strings = stop_strings_of(tokenizer, sampling.stop, TURN_LABELS)
        return LocalReply(request, ReplyText(tokenizer, stop_strings, processing=sampling.processing))


def encode_message(content: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The prompt of a conversation that begins with `content`. Raises InvalidInputError."""
    return encode_messages([unstored_message("user", content)], tokenizer)[1]
