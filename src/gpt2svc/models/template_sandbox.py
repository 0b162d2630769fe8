"""Where a model's own Jinja template runs: it comes with the model, from whoever made that, and gets nothing of ours.

Jinja's sandbox keeps a template away from Python's insides. What it leaves open is how long one runs and how much
memory it takes, and that is bounded here: by a deadline that every line of the template is checked against, by the
length of every text that it holds or puts out, and by a short list of filters and methods, none of which can make much
of little.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, Final, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import loopcontrols
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MAX_SOURCE: Final = 65_536  # characters of a template
MAX_TEXT: Final = 1_000_000  # characters of what it holds or renders
TIMEOUT_S: Final = 2.0

_MAX_TERMS: Final = 64  # joined by ~ or + in the whole template
_FILTERS: Final = frozenset(
    {"capitalize", "count", "d", "default", "equalto", "first", "int", "items", "last", "length", "list", "lower"}
    | {"map", "reject", "rejectattr", "reverse", "select", "selectattr", "string", "title", "tojson", "trim", "upper"}
)
_METHODS: Final = frozenset(
    {
        "capitalize",
        "count",
        "endswith",
        "find",
        "get",
        "index",
        "isdigit",
        "isspace",
        "items",
        "keys",
        "lower",
        "lstrip",
    }
    | {"removeprefix", "removesuffix", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title"}
    | {"upper", "values"}
)
_FILE_NAME: Final = "<template>"


class TemplateLimitError(TemplateError):
    """A template asked for more time or memory than it gets."""


class BoundedNamespace(Namespace):
    """Jinja's `namespace`, with texts of a bounded length."""

    def __setitem__(self, name: str, value: Any) -> None:
        _check_text(value)
        super().__setitem__(name, value)


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """`run` renders what `compile_template` made."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        self.filters = {name: self.filters[name] for name in self.filters if name in _FILTERS}
        self.filters["join"] = _join
        self.globals = {"range": self.globals["range"], "namespace": BoundedNamespace, "raise_exception": _refuse}

    def compile_template(self, source: str) -> Callable[[Mapping[str, Any]], str]:
        """Raises TemplateError for what is no template, or one that uses what is not allowed here."""
        if len(source) > MAX_SOURCE:
            raise TemplateLimitError(f"it has more than {MAX_SOURCE} characters")
        try:
            tree = self.parse(source)
            _check_tree(tree)
            template = self.from_string(tree)
        except (RecursionError, MemoryError) as error:
            raise TemplateLimitError("it is nested too deeply") from error
        return lambda values: _run(template, values)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, BoundedNamespace | LoopContext):
            return super().is_safe_attribute(obj, attr, value)
        return attr in _METHODS and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "+":
            _check_text(total := left + right)
            return total
        if not all(isinstance(side, int | float) and abs(side) < 2**31 for side in (left, right)) or operator == "**":
            raise SecurityError(f"the operator {operator} is for small numbers only")
        return super().call_binop(context, operator, left, right)


def _check_tree(tree: nodes.Template) -> None:
    for kind in (
        nodes.Include,
        nodes.Import,
        nodes.FromImport,
        nodes.Extends,
        nodes.Block,
        nodes.Macro,
        nodes.CallBlock,
    ):
        if tree.find(kind) is not None:
            raise SecurityError(f"{kind.__name__.lower()} is not allowed")
    terms = sum(len(each.nodes) for each in tree.find_all(nodes.Concat)) + sum(1 for _ in tree.find_all(nodes.Add))
    if terms > _MAX_TERMS:
        raise TemplateLimitError(f"it joins more than {_MAX_TERMS} texts")


def _run(template: Any, values: Mapping[str, Any]) -> str:
    deadline = time.monotonic() + TIMEOUT_S
    rendered: list[str] = []
    length = 0

    def check_line(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > deadline:
            raise TemplateLimitError(f"it takes longer than {TIMEOUT_S:g} seconds")
        for name, value in frame.f_locals.items():
            if name.startswith("l_"):  # the template's own variables
                _check_text(value)
        return check_line

    def check_call(frame: FrameType, event: str, argument: Any) -> Any:
        return check_line if frame.f_code.co_filename == _FILE_NAME else None

    before = sys.gettrace()
    # NOTE: of this thread only. A loop that puts nothing out never comes back to us otherwise.
    sys.settrace(check_call)
    try:
        for piece in template.generate(values):
            length += len(piece)
            if length > MAX_TEXT:
                raise TemplateLimitError(f"it renders more than {MAX_TEXT} characters")
            rendered.append(piece)
    finally:
        sys.settrace(before)
    return "".join(rendered)


def _check_text(value: Any) -> None:
    if isinstance(value, str | list | tuple) and len(value) > MAX_TEXT:
        raise TemplateLimitError(f"it holds more than {MAX_TEXT} characters")


def _join(values: Iterable[Any], separator: str = "") -> str:
    """As Jinja's, without its `attribute`."""
    texts = [str(value) for value in values]
    if sum(map(len, texts)) + len(separator) * len(texts) > MAX_TEXT:
        raise TemplateLimitError(f"it holds more than {MAX_TEXT} characters")
    return str(separator).join(texts)


def _refuse(message: object = "") -> NoReturn:
    """`raise_exception` of templates, by which they say what they don't take."""
    raise TemplateError(str(message)[:200] or "it does not take these messages")
