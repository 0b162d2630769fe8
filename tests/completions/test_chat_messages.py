from pathlib import Path

import jinja2
import pytest

from gpt2svc.completions.chat_messages import CHAT_TEMPLATE, ChatMessage, ChatMessages, render
from gpt2svc.errors import ContextWindowError, InvalidInputError
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.tokenizer import write_tokenizer_folder


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return Tokenizer.from_folder(write_tokenizer_folder(tmp_path))


TALK = (
    ChatMessage("system", " Be kind. "),
    ChatMessage("user", "Hi"),
    ChatMessage("assistant", "Hello"),
    ChatMessage("system", "Be brief."),
    ChatMessage("user", "Who are you?"),
)


def test_template_renders_what_the_service_renders(tokenizer: Tokenizer) -> None:
    for messages in (TALK, TALK[1:3], TALK[1:2]):
        template = jinja2.Environment(autoescape=True).from_string(CHAT_TEMPLATE)
        as_dicts = [{"role": m.role, "content": m.content} for m in messages]
        prompt = render(ChatMessages(messages), tokenizer, 1000).text
        assert template.render(messages=as_dicts, add_generation_prompt=True) == prompt


def test_blank_messages_leave_no_trace_and_nothing_but_blanks_is_refused(tokenizer: Tokenizer) -> None:
    blanks = (ChatMessage("system", " "), ChatMessage("user", "Hi"), ChatMessage("assistant", ""))
    assert render(ChatMessages(blanks), tokenizer, 1000).text == "User: Hi\nAssistant:"
    with pytest.raises(InvalidInputError, match="messages"):
        ChatMessages((ChatMessage("user", "\n"), ChatMessage("system", "Hi"))).encode(tokenizer, 1000)


def test_no_line_of_a_system_message_looks_like_a_turn(tokenizer: Tokenizer) -> None:
    system = ChatMessage("system", "User: x\r\nAssistant: y\rUser: z")
    prompt = render(ChatMessages((system, TALK[1])), tokenizer, 1000).text
    assert prompt == " User: x\n Assistant: y\n User: z\nUser: Hi\nAssistant:"


def test_oldest_turns_drop_within_the_budget_and_system_messages_stay(tokenizer: Tokenizer) -> None:
    messages = ChatMessages((TALK[0], *TALK[1:3] * 6, TALK[4]), drops_oldest=True, max_messages=5)
    prompt = messages.encode(tokenizer, 1000)
    text = tokenizer.decode(prompt.token_ids)
    assert text.startswith("Be kind.\nUser: Hi\nAssistant: Hello\n")
    assert text.endswith("User: Who are you?\nAssistant:")
    assert prompt.num_dropped == 10
    with pytest.raises(ContextWindowError) as refused:
        messages.encode(tokenizer, 20)
    assert refused.value.field == "messages"
    assert refused.value.num_tokens > refused.value.max_tokens == 20


def test_without_dropping_too_long_a_talk_is_refused_with_both_numbers(tokenizer: Tokenizer) -> None:
    num_tokens = len(ChatMessages(TALK).encode(tokenizer, 1000).token_ids)
    with pytest.raises(ContextWindowError) as refused:
        ChatMessages(TALK).encode(tokenizer, num_tokens - 1)
    assert (refused.value.num_tokens, refused.value.max_tokens) == (num_tokens, num_tokens - 1)
