"""How a conversation becomes the text that the model reads.

    User: …\nAssistant: …\nUser: …\nAssistant: …

A training document ends with `<|endoftext|>`; a prompt ends with `Assistant:` and no space, since in GPT-2's byte-level
vocabulary the space belongs to the first token of the reply. A reply therefore starts with one space and ends where
`\nUser:` or `<|endoftext|>` begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

END_OF_TEXT = "<|endoftext|>"
ROLE_LABELS = {"user": "User:", "assistant": "Assistant:"}
TURN_SEPARATOR = "\n"


@dataclass(frozen=True)
class Turn:
    """One message: `role` is "user" or "assistant"."""

    role: str
    content: str


def render_transcript(turns: Sequence[Turn]) -> str:
    """The conversation as text, without the end marker; contents lose the white space round them."""
    return TURN_SEPARATOR.join(f"{ROLE_LABELS[turn.role]} {turn.content.strip()}" for turn in turns)
