"""The conversation in a terminal: reads lines, streams replies, understands a few commands."""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from gpt2svc.cli.output import message, write
from gpt2svc.cli.sampling_flags import in_flag_words
from gpt2svc.errors import Gpt2svcError, InvalidInputError
from gpt2svc.generation.settings import SETTING_SPECS, SamplingSettings

HELP = """\
Write a message and press Enter. Ctrl-C stops a reply, Ctrl-D leaves.
  /new               start a new conversation
  /set               show the sampling settings
  /set NAME VALUE    change one, such as: /set temperature 0.5
  /seed [NUMBER]     fix the seed; without a number, draw one for each reply again
  /help              show this
  /quit              leave"""


class ChatBackend(Protocol):
    """Who replies: the engine in this process, or a service elsewhere."""

    ending: str  # how the last reply ended, for people; "" when normally

    def new(self) -> None:
        """Forget the conversation so far."""
        ...

    def reply(self, content: str, settings: Mapping[str, Any]) -> Iterator[str]:
        """The pieces of a reply. KeyboardInterrupt comes out of it where Ctrl-C was pressed."""
        ...

    def stop(self) -> None:
        """Give up the reply in progress after a KeyboardInterrupt."""
        ...


class Repl:
    """Runs until the input ends or `/quit`. `settings` holds just what the user has set."""

    def __init__(
        self, backend: ChatBackend, settings: Mapping[str, Any], *, read_line: Callable[[str], str] = input
    ) -> None:
        self._backend = backend
        self._settings = dict(settings)
        self._read_line = read_line
        self._is_interactive = sys.stdin.isatty()

    def run(self) -> None:
        while True:
            try:
                line = self._read_line("\n> " if self._is_interactive else "").strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                message("\nCtrl-D or /quit leaves.")
                continue
            if line in ("/quit", "/exit"):
                return
            if not line:
                continue
            try:
                self._command(line) if line.startswith("/") else self._answer(line)
            except Gpt2svcError as error:
                message(f"Error: {in_flag_words(error.message)}")

    def _answer(self, content: str) -> None:
        has_written = False
        try:
            for piece in self._backend.reply(content, self._settings):
                has_written = has_written or bool(piece)  # before the write, which Ctrl-C may cut short
                write(piece, end="")
        except KeyboardInterrupt:
            self._backend.stop()
            self._backend.ending = "stopped"
        finally:
            if has_written:
                write("")
        if self._backend.ending:
            message(f"[{self._backend.ending}]")
        elif not has_written:
            message("[an empty reply]")

    def _command(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        if name == "/help":
            message(HELP)
        elif name == "/new":
            self._backend.new()
            message("A new conversation.")
        elif name == "/seed":
            self._set("seed", rest)
        elif name == "/set" and rest:
            setting, _, value = rest.partition(" ")
            self._set(setting.replace("-", "_"), value.strip())
        elif name == "/set":
            self._show_settings()
        else:
            message(f"{name} is not a command; /help lists them.")

    def _set(self, name: str, text: str) -> None:
        value: Any = _value(name, text) if text else None
        settings = {**self._settings, name: value}
        # NOTE: alone a setting of beams may not make sense yet: the reply tells.
        SamplingSettings.from_mapping(settings, is_whole=name not in ("num_beam_groups", "diversity_penalty"))
        self._settings = {key: value for key, value in settings.items() if value is not None}
        message(f"{name} = {'default' if value is None else value}")

    def _show_settings(self) -> None:
        current = SamplingSettings.from_mapping(self._settings).to_mapping()
        for name, value in current.items():
            message(f"  {name:<22}{value if value not in (None, [], {}) else '-'}")


def _value(name: str, text: str) -> Any:
    """`text` as the type that the setting has. Raises InvalidInputError."""
    if name == "stop":
        return [text]
    if name in ("early_stopping", "collapse_repeats", "trim_to_sentence"):
        return {"true": True, "false": False}.get(text, text)
    try:
        if name in ("seed", "logprobs") or (name in SETTING_SPECS and SETTING_SPECS[name].type is int):
            return int(text)
        return float(text)
    except ValueError:
        raise InvalidInputError(f"{name} must be a number, not {text!r}.", field=name) from None
