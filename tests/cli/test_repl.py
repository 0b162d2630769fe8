from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from gpt2svc.cli.repl import Repl
from gpt2svc.errors import OverloadedError


class EchoBackend:
    """Replies with the message, a word a piece; "stop" presses Ctrl-C after the first, "full" is refused."""

    def __init__(self) -> None:
        self.ending = ""
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.num_conversations = 1
        self.num_stops = 0

    def new(self) -> None:
        self.num_conversations += 1

    def reply(self, content: str, settings: Mapping[str, Any]) -> Iterator[str]:
        self.ending = ""
        self.seen.append((content, dict(settings)))
        if content == "full":
            raise OverloadedError("Too much to do.", retry_after_s=3)
        for word in content.split(" "):
            yield word + " "
            if content.startswith("stop"):
                raise KeyboardInterrupt

    def stop(self) -> None:
        self.num_stops += 1


def converse(*lines: str | type[BaseException], settings: Mapping[str, Any] | None = None) -> EchoBackend:
    backend = EchoBackend()
    script = iter([*lines, EOFError])

    def read_line(prompt: str) -> str:
        line = next(script)
        if isinstance(line, str):
            return line
        raise line

    Repl(backend, settings or {}, read_line=read_line).run()
    return backend


def test_messages_are_answered_until_the_input_ends(capsys: pytest.CaptureFixture[str]) -> None:
    backend = converse("Привіт, як справи?", "", "  bye  ")
    assert [content for content, _ in backend.seen] == ["Привіт, як справи?", "bye"]
    assert capsys.readouterr().out == "Привіт, як справи? \nbye \n"


def test_ctrl_c_stops_the_reply_and_not_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    backend = converse("stop it now", "go on")
    assert backend.num_stops == 1
    captured = capsys.readouterr()
    assert captured.out == "stop \ngo on \n"
    assert "[stopped]" in captured.err


def test_ctrl_c_at_the_prompt_only_tells_how_to_leave(capsys: pytest.CaptureFixture[str]) -> None:
    assert converse(KeyboardInterrupt, "hi").seen == [("hi", {})]
    assert "/quit leaves" in capsys.readouterr().err


def test_quit_leaves_at_once() -> None:
    assert converse("/quit", "hi").seen == []


def test_settings_and_seed_go_with_the_next_messages() -> None:
    backend = converse("/set temperature 0.5", "/set top-k 7", "/seed 42", "a", "/seed", "b", settings={"top_p": 0.8})
    changed = {"top_p": 0.8, "temperature": 0.5, "top_k": 7}
    assert backend.seen == [("a", {**changed, "seed": 42}), ("b", changed)]


def test_a_wrong_setting_is_told_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    backend = converse("/set temperature 9", "/set top_k x", "/set nonsense 1", "hi")
    assert backend.seen == [("hi", {})]
    lines = capsys.readouterr().err.splitlines()
    assert "--temperature must be from 0 to 5" in lines[0]
    assert "top_k must be a number" in lines[1]
    assert "not a setting" in lines[2]


def test_new_starts_over_and_unknown_commands_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert converse("/new", "/nwe").num_conversations == 2
    assert "/nwe is not a command" in capsys.readouterr().err


def test_a_refused_message_is_told_and_the_talk_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(converse("full", "again").seen) == 2
    captured = capsys.readouterr()
    assert "Error: Too much to do." in captured.err
    assert captured.out == "again \n"
