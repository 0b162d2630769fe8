import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from gpt2svc.chat.prompt import PromptBudget
from gpt2svc.cli.local_chat import LocalChat, encode_message
from gpt2svc.cli.local_engine import LocalEngine
from gpt2svc.engine.core import EngineCore
from gpt2svc.errors import ContextWindowError, EngineError, InvalidInputError
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.model_info import fake_model_info
from tests.fakes.scripted_core import ScriptedCore
from tests.fakes.tokenizer import write_tokenizer_folder

with tempfile.TemporaryDirectory() as folder:
    TOKENIZER = Tokenizer.from_folder(write_tokenizer_folder(Path(folder)))

N_POSITIONS = 256


def chat_of(reply: str, *, max_messages: int = 10, fail_after: int | None = None) -> tuple[LocalChat, ScriptedCore]:
    core = ScriptedCore(TOKENIZER.encode(reply), fail_after=fail_after)
    engine = LocalEngine(cast(EngineCore, core), fake_model_info(n_positions=N_POSITIONS), TOKENIZER)
    return LocalChat(engine, PromptBudget(max_messages=max_messages, max_prompt_tokens=200)), core


def prompts(core: ScriptedCore) -> list[str]:
    return [TOKENIZER.decode(request.prompt_token_ids) for request in core.requests]


def say(chat: LocalChat, content: str, **settings: Any) -> str:
    return "".join(chat.reply(content, settings))


def test_each_prompt_holds_the_conversation_so_far() -> None:
    chat, core = chat_of(" Добре, 🙂!")
    assert say(chat, "Привіт") == "Добре, 🙂!"
    say(chat, "А ти?")
    assert prompts(core) == [
        "User: Привіт\nAssistant:",
        "User: Привіт\nAssistant: Добре, 🙂!\nUser: А ти?\nAssistant:",
    ]
    assert core.requests[0].prompt_token_ids == encode_message("Привіт", TOKENIZER)


def test_the_reply_ends_before_the_next_turn() -> None:
    chat, core = chat_of(" Fine.\nUser: and more")
    assert say(chat, "hi") == "Fine."
    assert core.aborted == ["1"]
    assert not core.has_work


def test_new_forgets_the_conversation() -> None:
    chat, core = chat_of(" ok")
    say(chat, "one")
    chat.new()
    say(chat, "two")
    assert prompts(core)[1] == "User: two\nAssistant:"


def test_old_turns_drop_out_of_a_long_conversation() -> None:
    chat, core = chat_of(" ok", max_messages=3)
    for content in ("one", "two", "three"):
        say(chat, content)
    assert "one" not in prompts(core)[-1]
    assert prompts(core)[-1].endswith("User: three\nAssistant:")


def test_a_reply_cut_by_its_limit_says_so() -> None:
    chat, _ = chat_of(" a b c d e")
    say(chat, "hi", max_new_tokens=2)
    assert chat.ending == "cut at max_new_tokens"


def test_ctrl_c_ends_the_reply_and_keeps_what_was_said() -> None:
    chat, core = chat_of(" one two three four five six seven eight")
    pieces = chat.reply("hi", {})
    said = next(piece for piece in pieces if piece)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        said += "".join(pieces)
    assert not core.has_work
    assert core.aborted == ["1"]
    say(chat, "go on")
    assert prompts(core)[1] == f"User: hi\nAssistant: {said.strip()}\nUser: go on\nAssistant:"


def test_after_a_reply_ctrl_c_is_what_it_was_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    say(chat_of(" ok")[0], "hi")
    assert signal.getsignal(signal.SIGINT) is before


def test_an_engine_that_fails_is_told() -> None:
    chat, _ = chat_of(" one two three", fail_after=1)
    with pytest.raises(EngineError, match="out of memory"):
        say(chat, "hi")


@pytest.mark.parametrize(
    ("content", "settings", "error"),
    [
        ("word " * 300, {}, ContextWindowError),
        ("hi", {"max_new_tokens": N_POSITIONS}, ContextWindowError),
        ("a\x00b", {}, InvalidInputError),
    ],
)
def test_a_message_that_cannot_be_answered_is_refused_and_forgotten(
    content: str, settings: dict[str, Any], error: type[Exception]
) -> None:
    chat, core = chat_of(" ok")
    with pytest.raises(error):
        say(chat, content, **settings)
    say(chat, "hi")
    assert prompts(core) == ["User: hi\nAssistant:"]


def test_the_seed_is_the_users_or_drawn_anew() -> None:
    chat, core = chat_of(" ok")
    say(chat, "a", seed=7)
    say(chat, "b")
    say(chat, "c")
    seeds: Sequence[int] = [request.params.seed for request in core.requests]
    assert seeds[0] == 7
    assert seeds[1] != seeds[2]
