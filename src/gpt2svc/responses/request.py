"""What a response of /v1/responses is asked to be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt2svc.chat.prompt import TURN_LABELS, PromptBudget
from gpt2svc.completions.chat_messages import ChatMessage, ChatMessages
from gpt2svc.completions.service import CompletionRequest
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.persistence.idempotency_keys import hash_of_request
from gpt2svc.persistence.records import InputItem


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """`is_detached`: it goes on when its client leaves. `echo`: what the answer repeats of the request."""

    input: tuple[InputItem, ...]
    settings: SamplingSettings
    owner: str
    model: str | None
    instructions: str | None
    previous_response_id: str | None
    drops_oldest: bool
    is_length_asked: bool
    length_field: str  # what the request calls the length
    is_detached: bool
    echo: Mapping[str, Any]
    idempotency_key: str | None
    body: Mapping[str, Any]  # as it came, for telling a repeated request from another one

    @property
    def body_hash(self) -> str:
        """The same for the same request only."""
        return hash_of_request(["response", dict(self.body)])

    def completion(self, items: Sequence[InputItem], budget: PromptBudget) -> CompletionRequest:
        """Of one text, which answers `items`."""
        messages = [ChatMessage("system", self.instructions)] if self.instructions is not None else []
        for item in items:
            messages.append(ChatMessage("system" if item.role == "developer" else item.role, item.content))
        prompt = ChatMessages(
            tuple(messages),
            drops_oldest=self.drops_oldest,
            max_messages=budget.max_messages,
            max_prompt_tokens=budget.max_prompt_tokens,
            field="input",
        )
        return CompletionRequest(
            prompts=(prompt,),
            settings=self.settings,
            model=self.model,
            owner=self.owner,
            is_length_asked=self.is_length_asked,
            turn_labels=TURN_LABELS,
            length_field=self.length_field,
        )
