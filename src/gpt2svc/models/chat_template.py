"""A model's own chat template: how its training put conversations into text, as transformers keeps it.

Without one a model reads the format of this project's own training (chat/prompt.py).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from gpt2svc.errors import InvalidInputError, ModelFormatError
from gpt2svc.models.json_file import read_json_object
from gpt2svc.models.special_tokens import TOKENIZER_CONFIG_NAME
from gpt2svc.models.tokenizer import Tokenizer

CHAT_TEMPLATE_NAME: Final = "chat_template.jinja"

_MAX_CONFIG_BYTES: Final = 4 << 20
_MAX_FILE_BYTES: Final = 1 << 18
_MAX_MARKER: Final = 64  # characters
# Contents that no template has, to find what it puts round them.
_ASKED, _ANSWERED, _ASKED_AGAIN = "qzASKEDzq", "qzANSWEREDzq", "qzAGAINzq"
_PROBE: Final = (
    {"role": "user", "content": _ASKED},
    {"role": "assistant", "content": _ANSWERED},
    {"role": "user", "content": _ASKED_AGAIN},
)


@dataclass(frozen=True, slots=True)
class ChatMarkers:
    """Where a reply ends: at a line that begins with a label, at a text, or at a token."""

    turn_labels: tuple[str, ...]
    stop: tuple[str, ...]
    end_token_ids: tuple[int, ...]


class ChatTemplate:
    """Checked when it is made, by rendering a short talk. Safe to share between threads."""

    def __init__(self, source: str, tokenizer: Tokenizer, *, origin: str) -> None:
        """`origin` names it in errors. Raises ModelFormatError where it is broken or asks for what it does not get."""
        # NOTE: here and not above: most models have no template, and Jinja takes a while to load.
        from jinja2 import TemplateError

        from gpt2svc.models.template_sandbox import TemplateSandbox

        self.source = source
        self._tokenizer = tokenizer
        self._error: type[Exception] = TemplateError
        spellings = {token_id: spelling for spelling, token_id in tokenizer.special_tokens.items()}
        self._values = {
            "bos_token": spellings.get(tokenizer.bos_token_id, "") if tokenizer.bos_token_id is not None else "",
            "eos_token": spellings.get(tokenizer.eos_token_id, "") if tokenizer.eos_token_id is not None else "",
            "tools": None,
            "documents": None,
        }
        self._mask = _Mask(tokenizer.special_tokens)
        try:
            self._run: Callable[[Mapping[str, Any]], str] = TemplateSandbox().compile_template(source)
            self.markers = self._find_markers()
            self.probes = tuple((talk, self.render(talk)) for talk in (_PROBE[:1], _PROBE))  # talks, as it writes them
            self.num_tokens_around = self._count_around()  # that it puts round a message, about
        except (TemplateError, InvalidInputError) as error:
            line = getattr(error, "lineno", None)
            place = f" (line {line})" if line else ""
            raise ModelFormatError(
                f"The chat template {origin} can't be used{place}: {_reason(error)}. Put it "
                f"right, or remove it: without one the model reads 'User: …' and 'Assistant: …' lines.",
                field="chat_template",
            ) from error

    @classmethod
    def from_folder(cls, folder: Path, tokenizer: Tokenizer) -> Self | None:
        """Of chat_template.jinja, else of tokenizer_config.json; None where there is none. Raises ModelFormatError."""
        file = folder / CHAT_TEMPLATE_NAME
        if file.is_file():
            return cls.from_file(file, tokenizer)
        config = folder / TOKENIZER_CONFIG_NAME
        if not config.is_file():
            return None
        source = _of_config(read_json_object(config, max_bytes=_MAX_CONFIG_BYTES).get("chat_template"))
        return cls(source, tokenizer, origin=f"in {config}") if source is not None else None

    @classmethod
    def from_file(cls, file: Path, tokenizer: Tokenizer) -> Self:
        """Raises ModelFormatError, also for a file that is not there or is no text."""
        try:
            with file.open("rb") as stream:
                data = stream.read(_MAX_FILE_BYTES + 1)
            if len(data) > _MAX_FILE_BYTES:
                raise ModelFormatError(f"The chat template {file} is too large.", field="chat_template")
            return cls(data.decode("utf-8"), tokenizer, origin=str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise ModelFormatError(
                f"The chat template {file} can't be read: {error}.", field="chat_template"
            ) from error

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt for a reply to the last of `messages` ({"role", "content"}), as people read it.

        Raises InvalidInputError where the template does not take them.
        """
        return self._rendered(messages, is_prompt=True)

    def encode(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The same as token ids: special tokens that the template writes are those tokens, and what looks like one in
        a message is text. Raises InvalidInputError."""
        masked = [{**message, "content": self._mask.hide(message["content"])} for message in messages]
        ids: list[int] = []
        for part in self._mask.split(self._rendered(masked, is_prompt=True)):
            special = self._tokenizer.special_tokens.get(part)
            ids += [special] if special is not None else self._tokenizer.encode(self._mask.show(part)) if part else []
        return ids

    def _count_around(self) -> int:
        once, thrice = (len(self.encode(talk)) for talk, _ in self.probes)
        contents = sum(len(self._tokenizer.encode(message["content"])) for message in _PROBE[1:])
        return max(0, (thrice - once - contents + 1) // 2)

    def _rendered(self, messages: Sequence[Mapping[str, str]], *, is_prompt: bool) -> str:
        values = {**self._values, "messages": list(messages), "add_generation_prompt": is_prompt}
        try:
            return self._run(values)
        except self._error as error:
            raise InvalidInputError(f"The model's chat template refuses these messages: {_reason(error)}.") from error
        except Exception as error:  # whatever its expressions run into: types, missing keys, a division by zero
            raise InvalidInputError(f"The model's chat template fails on these messages: {error!r}.") from error

    def _find_markers(self) -> ChatMarkers:
        """What follows a reply where another turn does. Raises InvalidInputError."""
        if _ASKED not in self._rendered(_PROBE[:1], is_prompt=True):
            raise InvalidInputError("it leaves out what the user says")
        text = self._rendered(_PROBE, is_prompt=False)
        between = [_between(text, _ANSWERED, _ASKED_AGAIN), _between(text, _ASKED, _ANSWERED)]
        if None in between:
            raise InvalidInputError("it leaves out a message of a longer talk")
        labels: list[str] = []
        stop: list[str] = []
        ids: list[int] = []
        for marker in filter(None, between):
            plain, *rest = self._mask.split(marker)
            if not plain.strip() and rest:
                ids.append(self._tokenizer.special_tokens[rest[0]])
            elif plain.startswith("\n") and plain.strip():
                labels.append(plain.strip()[:_MAX_MARKER])
            elif plain.rstrip(" "):
                stop.append(plain.rstrip(" ")[:_MAX_MARKER])
        return ChatMarkers(tuple(dict.fromkeys(labels)), tuple(dict.fromkeys(stop)), tuple(dict.fromkeys(ids)))


class _Mask:
    """Keeps special tokens that stand in a message apart from those of the template."""

    def __init__(self, special_tokens: Mapping[str, int]) -> None:
        longest_first = sorted(special_tokens, key=len, reverse=True)
        self._split = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if longest_first else None
        self._hidden = {spelling: f"\ufdd0{index}\ufdd1" for index, spelling in enumerate(longest_first)}
        self._shown = {hidden: spelling for spelling, hidden in self._hidden.items()}
        self._pattern = re.compile("\ufdd0[0-9]+\ufdd1")

    def split(self, text: str) -> list[str]:
        """Plain texts and special tokens in turn."""
        return self._split.split(text) if self._split is not None else [text]

    def hide(self, text: str) -> str:
        return self._split.sub(lambda match: self._hidden[match[0]], text) if self._split is not None else text

    def show(self, text: str) -> str:
        return self._pattern.sub(lambda match: self._shown.get(match[0], match[0]), text)


def _between(text: str, start: str, end: str) -> str | None:
    begin, stop = text.find(start), text.find(end)
    return text[begin + len(start) : stop] if 0 <= begin < stop else None


def _reason(error: Exception) -> str:
    return str(getattr(error, "message", None) or error).rstrip(".")


def _of_config(entry: Any) -> str | None:
    """A template, or a list of named ones."""
    if isinstance(entry, list):
        named = {each.get("name"): each.get("template") for each in entry if isinstance(each, dict)}
        entry = named.get("default")
    return entry if isinstance(entry, str) and entry.strip() else None
