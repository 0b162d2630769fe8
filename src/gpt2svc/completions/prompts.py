"""What a completion goes on from: text or token ids as they are, or messages rendered as a conversation."""

from dataclasses import dataclass
from typing import Protocol

from gpt2svc.errors import ContextWindowError, InvalidInputError
from gpt2svc.models.tokenizer import Tokenizer

MAX_ESTIMATE = 1023  # tokens: GPT-2's window; a larger one is asked for once the model is known


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    token_ids: tuple[int, ...]
    num_dropped: int = 0  # oldest messages that were left out to make it fit


class PromptInput(Protocol):
    @property
    def estimate(self) -> int:
        """Tokens at most, roughly: known without a tokenizer."""
        ...

    def encode(self, tokenizer: Tokenizer, max_tokens: int) -> EncodedPrompt:
        """At most `max_tokens` ids; raises ContextWindowError for more, and InvalidInputError."""
        ...


@dataclass(frozen=True, slots=True)
class RawPrompt:
    """A completion's prompt. In text, the spelling of a special token stands for that token.

    An empty one begins a text of its own: it becomes the model's end-of-text token, as in training.
    """

    value: str | tuple[int, ...]

    @property
    def estimate(self) -> int:
        # At most one token a byte; text that long is counted when it is encoded.
        return min(MAX_ESTIMATE, len(self.value) * (4 if isinstance(self.value, str) else 1))

    def encode(self, tokenizer: Tokenizer, max_tokens: int) -> EncodedPrompt:
        ids = tuple(tokenizer.encode_marked(self.value) if isinstance(self.value, str) else self.value)
        if not ids:
            if tokenizer.eos_token_id is None:
                raise InvalidInputError(
                    "prompt is empty, and this model has no end-of-text token to begin with.", field="prompt"
                )
            ids = (tokenizer.eos_token_id,)
        check_length(len(ids), max_tokens, "prompt")
        return EncodedPrompt(ids)


def check_length(num_tokens: int, max_tokens: int, field: str) -> None:
    """Raises ContextWindowError with both numbers."""
    if num_tokens > max_tokens:
        raise ContextWindowError(
            f"{field} has {num_tokens} tokens; at most {max_tokens} fit this model's window beside the asked reply.",
            num_tokens=num_tokens,
            max_tokens=max_tokens,
            field=field,
        )
