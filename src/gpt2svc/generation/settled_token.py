"""A token of a reply with the text that it brings to it, which nothing that follows can change."""

from dataclasses import dataclass

from gpt2svc.engine.types import TokenLogprobs


@dataclass(frozen=True, slots=True)
class SettledToken:
    token_id: int
    text: str
    logprobs: TokenLogprobs | None
