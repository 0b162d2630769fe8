"""Messages of a stateless chat as the model reads them: the format of conversations, and plain text before it.

Base models know no system role, so what such messages say stands as text of its own before the first turn, which is
how a page that holds a conversation begins:

    Answer in one sentence.
    User: …
    Assistant: …
    User: …
    Assistant:

A model with a chat template of its own gets them by that, system messages as one that stands first.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gpt2svc.chat.prompt import TURN_LABELS, build_prompt, count_message, encode_messages
from gpt2svc.chat.unstored_message import unstored_message
from gpt2svc.completions.prompts import MAX_ESTIMATE, EncodedPrompt, check_length
from gpt2svc.errors import ContextWindowError, InvalidInputError
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.persistence.records import MessageRecord
from gpt2svc.training.transcript import TURN_SEPARATOR

ChatRole = Literal["system", "user", "assistant"]

# The same for programs that render by themselves; it does not keep labels inside a message apart from turns.
CHAT_TEMPLATE: Final = (
    "{%- for message in messages if message['role'] == 'system' -%}{{ message['content'] | trim }}{{ '\\n' }}"
    "{%- endfor -%}"
    "{%- for message in messages if message['role'] != 'system' -%}"
    "{{ 'User:' if message['role'] == 'user' else 'Assistant:' }} {{ message['content'] | trim }}"
    "{%- if not loop.last -%}{{ '\\n' }}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '\\nAssistant:' }}{%- endif -%}"
)

_LABEL = re.compile(r"^(?=" + "|".join(map(re.escape, TURN_LABELS)) + ")", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: ChatRole
    content: str


@dataclass(frozen=True, slots=True)
class ChatMessages:
    """The prompt for a reply to `messages`, of which blank ones count for nothing.

    With `drops_oldest`, whole turns drop from the front until the rest fits, by the budget of conversations
    (`max_messages`, `max_prompt_tokens`); system messages stay. Otherwise what does not fit is refused.
    """

    messages: Sequence[ChatMessage]
    drops_oldest: bool = False
    max_messages: int = 10
    max_prompt_tokens: int = 512
    field: str = "messages"  # what errors call them

    @property
    def estimate(self) -> int:
        return min(MAX_ESTIMATE, sum(4 * len(message.content) + 4 for message in self.messages))

    @property
    def preamble(self) -> str:
        """What system messages say, ending in a line break where there is any; no line of it looks like a turn."""
        texts = [m.content.strip().replace("\r\n", "\n").replace("\r", "\n") for m in self.messages]
        kept = [text for text, m in zip(texts, self.messages, strict=True) if m.role == "system" and text]
        return "".join(_LABEL.sub(" ", text) + TURN_SEPARATOR for text in kept)

    @property
    def turns(self) -> Sequence[MessageRecord]:
        """Users' and assistants' messages with text, named by their place in `messages`."""
        return [
            unstored_message(message.role, message.content, message_id=str(index))
            for index, message in enumerate(self.messages)
            if message.role != "system" and message.content.strip()
        ]

    def encode(self, tokenizer: Tokenizer, max_tokens: int) -> EncodedPrompt:
        """Raises InvalidInputError, also where no user's or assistant's message has text, and ContextWindowError."""
        turns = self.turns
        if not turns:
            raise InvalidInputError(f"{self.field} must hold a user's message that is not blank.", field=self.field)
        try:
            if not self.drops_oldest:
                _, ids = encode_messages(turns, tokenizer, self.preamble)
                check_length(len(ids), max_tokens, self.field)
                return EncodedPrompt(ids)
            max_tokens = min(max_tokens, self.max_prompt_tokens)
            prompt = build_prompt(
                turns, tokenizer, max_tokens=max_tokens, max_messages=self.max_messages, preamble=self.preamble
            )
        except ContextWindowError as error:
            check_length(error.num_tokens, max_tokens, self.field)
            raise
        except InvalidInputError as error:  # of the model's own template
            error.field = self.field
            raise
        return EncodedPrompt(prompt.token_ids, len(prompt.dropped_message_ids))


@dataclass(frozen=True, slots=True)
class Rendered:
    text: str
    token_ids: tuple[int, ...]
    num_dropped: int
    messages: tuple[tuple[int, str, int], ...]  # of those in the prompt: place in the request, role, tokens


def render(messages: ChatMessages, tokenizer: Tokenizer, n_positions: int) -> Rendered:
    """The prompt as it is sent, leaving room for one token at least. Raises InvalidInputError, ContextWindowError."""
    prompt = messages.encode(tokenizer, n_positions - 1)
    kept = messages.turns[prompt.num_dropped :]
    text, _ = encode_messages(kept, tokenizer, messages.preamble)
    counts = [(int(turn.id), turn.role, count_message(turn, tokenizer)) for turn in kept]
    for index, message in enumerate(messages.messages):
        preamble = ChatMessages((message,)).preamble
        if preamble:
            counts.append((index, "system", len(tokenizer.encode(preamble))))
    return Rendered(text, prompt.token_ids, prompt.num_dropped, tuple(sorted(counts)))
