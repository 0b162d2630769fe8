"""What the model reads: the conversation as text, and how much of it fits.

    User: …
    Assistant: …
    User: …
    Assistant:

The format is that of training (training/transcript.py); the prompt ends without a space, since GPT-2's tokens carry it.

A model that was trained on conversations in another format brings a template (models/chat_template.py), which is used
instead.

A line inside a message that begins with a turn label gets one space in front, so that nobody can write a turn of the
other side into a message: "\\nUser:" stands in a prompt only where a turn begins. The stored message stays as it was.

Old turns drop when the budget is full, several at a time: GPT-2's positions are absolute, so each drop makes the whole
prompt new to the KV cache. Dropping down to three fifths leaves the next turns a prefix that can be reused.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gpt2svc.errors import ContextWindowError
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.models.chat_template import ChatTemplate
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.persistence.records import MessageRecord
from gpt2svc.training.transcript import ROLE_LABELS, TURN_SEPARATOR, Turn, render_transcript

TURN_LABELS: tuple[str, ...] = tuple(ROLE_LABELS.values())
REPLY_LABEL = ROLE_LABELS["assistant"]
LOW_WATERMARK = 0.6  # of each limit: where dropping stops
KEPT_TOO_LITTLE = 0.5  # of each limit: below this, turns that an earlier, tighter budget dropped come back

_LINE_BREAK = re.compile(r"\r\n?")
_LABEL_AT_LINE_START = re.compile(r"(?<=\n)(?=" + "|".join(map(re.escape, TURN_LABELS)) + ")")


@dataclass(frozen=True, slots=True)
class PromptBudget:
    """At most so many messages, the new one included, and prompt tokens; prompt and reply together fit the window."""

    max_messages: int = 10
    max_prompt_tokens: int = 512

    def num_prompt_tokens(self, n_positions: int, max_new_tokens: int) -> int:
        """How many tokens the prompt may have. Raises ContextWindowError when the reply alone fills the window."""
        if max_new_tokens >= n_positions:
            raise ContextWindowError(
                f"settings.max_new_tokens ({max_new_tokens}) leaves no room for a prompt: the model's window is "
                f"{n_positions} tokens, prompt and reply together.",
                num_tokens=max_new_tokens,
                max_tokens=n_positions - 1,
                field="settings.max_new_tokens",
            )
        return min(self.max_prompt_tokens, n_positions - max_new_tokens)

    def default_max_new_tokens(self, n_positions: int) -> int:
        """For a reply whose length nobody set: the service's default, and at most half of a small window."""
        return max(1, min(SamplingSettings().max_new_tokens, n_positions // 2))


@dataclass(frozen=True, slots=True)
class Prompt:
    text: str
    token_ids: tuple[int, ...]
    dropped_message_ids: tuple[str, ...]  # oldest first; messages without text (failed replies) are not counted


def render_messages(messages: Sequence[MessageRecord]) -> str:
    """The prompt for a reply to the last of `messages`, in this project's format."""
    turns = [Turn(message.role, _safe_content(message.content)) for message in messages]
    return f"{render_transcript(turns)}{TURN_SEPARATOR}{REPLY_LABEL}"


def encode_messages(
    messages: Sequence[MessageRecord], tokenizer: Tokenizer, preamble: str = ""
) -> tuple[str, tuple[int, ...]]:
    """The prompt for a reply to the last of `messages`, in the model's format, as text and as tokens.

    `preamble` comes before the first turn: it ends in a line break, and no line of it looks like a turn. Raises
    InvalidInputError where the model's own template does not take the messages.
    """
    template = own_template(tokenizer)
    if template is None:
        text = preamble + render_messages(messages)
        return text, tuple(tokenizer.encode(text))
    talk = [{"role": message.role, "content": message.content} for message in messages]
    if preamble.strip():
        talk.insert(0, {"role": "system", "content": preamble.strip()})
    return template.render(talk), tuple(template.encode(talk))


def own_template(tokenizer: Tokenizer) -> ChatTemplate | None:
    """The model's own template, unless it says the same as `render_messages`, which also keeps turns apart."""
    template = tokenizer.chat_template
    if template is None or all(_render_talk(talk) == text for talk, text in template.probes):
        return None
    return template


def _render_talk(talk: Sequence[Mapping[str, str]]) -> str:
    turns = [Turn(message["role"], message["content"]) for message in talk]
    return f"{render_transcript(turns)}{TURN_SEPARATOR}{REPLY_LABEL}"


def build_prompt(
    path: Sequence[MessageRecord],
    tokenizer: Tokenizer,
    *,
    max_tokens: int,
    max_messages: int,
    dropped_before: Collection[str] = (),
    preamble: str = "",
) -> Prompt:
    """The prompt for a reply to the last message of `path` (root first), within both limits.

    `dropped_before` are the messages that the previous reply on this path did without: the prompt goes on from the same
    beginning while that fits. Raises ContextWindowError when the last message alone is too long.
    """
    messages = [message for message in path if has_text(message)]
    first_kept = next((i for i, message in enumerate(messages) if message.id not in dropped_before), 0)
    window = _Window(messages, tokenizer, max_tokens=max_tokens, max_messages=max_messages, preamble=preamble)
    start = window.first_that_fits(first_kept)
    if first_kept and window.is_mostly_empty(start):
        start = window.first_that_fits(0)
    text, token_ids = encode_messages(messages[start:], tokenizer, preamble)
    # NOTE: turns are counted apart and encoded together. With GPT-2's own splitting rule that is the same number; a
    # tokenizer that joins across line breaks may differ by a little, and a template may do anything.
    while len(token_ids) > max_tokens and start < len(messages) - 1:
        start = window.next_turn(start)
        text, token_ids = encode_messages(messages[start:], tokenizer, preamble)
    if len(token_ids) > max_tokens:
        raise ContextWindowError(
            f"The message has {len(token_ids)} tokens with its turn labels; at most {max_tokens} fit beside the reply.",
            num_tokens=len(token_ids),
            max_tokens=max_tokens,
            field="content",
        )
    return Prompt(text, token_ids, tuple(message.id for message in messages[:start]))


class _Window:
    """Which turn the prompt begins with."""

    def __init__(
        self,
        messages: Sequence[MessageRecord],
        tokenizer: Tokenizer,
        *,
        max_tokens: int,
        max_messages: int,
        preamble: str,
    ) -> None:
        self._messages = messages
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._max_messages = max_messages
        self._num_fixed_tokens = len(tokenizer.encode(preamble)) + len(tokenizer.encode(REPLY_LABEL))
        self._num_tokens: dict[int, int] = {}  # by index

    def first_that_fits(self, start: int) -> int:
        """`start` when everything from there fits; else a later turn that leaves room, at the latest the last."""
        last = len(self._messages) - 1
        start = max(start, last + 1 - self._max_messages - 1)  # what can't fit by number need not be tokenised
        if self._fits(start, 1.0):
            return start
        while start < last and not self._fits(start, 1.0):
            start = self.next_turn(start)
        # Further down to the low watermark, but not to forget everything for it.
        later = start
        while later < last and not self._fits(later, LOW_WATERMARK):
            later = self.next_turn(later)
        return later if later < last else start

    def next_turn(self, start: int) -> int:
        """The next user's message: a prompt does not begin with an answer."""
        last = len(self._messages) - 1
        return next((i for i in range(start + 1, last) if self._messages[i].role == "user"), last)

    def is_mostly_empty(self, start: int) -> bool:
        return self._fits(start, KEPT_TOO_LITTLE)

    def _fits(self, start: int, share: float) -> bool:
        num_messages = len(self._messages) - start
        if num_messages > self._max_messages * share:
            return False
        num_tokens = self._num_fixed_tokens
        for index in range(start, len(self._messages)):
            num_tokens += self._count(index)
        return num_tokens <= self._max_tokens * share

    def _count(self, index: int) -> int:
        if index not in self._num_tokens:
            self._num_tokens[index] = count_message(self._messages[index], self._tokenizer)
        return self._num_tokens[index]


def count_message(message: MessageRecord, tokenizer: Tokenizer) -> int:
    """Tokens of a message with what the format puts round it; with a template of the model's own, about so many."""
    template = own_template(tokenizer)
    if template is not None:
        return len(tokenizer.encode(message.content)) + template.num_tokens_around
    text = render_transcript([Turn(message.role, _safe_content(message.content))]) + TURN_SEPARATOR
    return len(tokenizer.encode(text))


def has_text(message: MessageRecord) -> bool:
    """Whether a prompt shows it.

    Failed and empty replies stay out; what is kept of a cancelled or interrupted one is part of the talk.
    """
    return message.role in ROLE_LABELS and message.status != "failed" and message.content.strip() != ""


def _safe_content(content: str) -> str:
    return _LABEL_AT_LINE_START.sub(" ", _LINE_BREAK.sub("\n", content))
