"""How OpenAI cut text into words for GPT-1, with ftfy and spaCy: the extra `gpt1`."""

import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Final

INSTALL_HINT: Final = "pip install 'gpt2svc[gpt1]'"

_MODULES: Final = ("ftfy", "spacy")
_REPLACED: Final = str.maketrans({"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"})
# Runs of one of these stand apart from the words beside them.
_RUN: Final = re.compile(r"([-~!\";?+,)(\\/*\[}{|_])\1*|\]+")
_LINE_BREAKS: Final = re.compile(r"\s*\n\s*")
_SPACES: Final = re.compile(r"[^\S\n]+")

Words = Callable[[str], list[str]]


def is_available() -> bool:
    """Whether both packages are installed; imports neither."""
    return all(find_spec(name) is not None for name in _MODULES)


def original_words() -> Words:
    """A function from a text to its words in lower case, a line break being one. Takes a second to import."""
    import ftfy
    from spacy.lang.en import English

    tokenizer = English().tokenizer

    def words(text: str) -> list[str]:
        # spaCy counts the space after a line break to the break, whose token is without.
        return [token.text.lower().rstrip(" ") for token in tokenizer(standardized(ftfy.fix_text(text)))]

    return words


def standardized(text: str) -> str:
    """With plain dashes and quotes, punctuation set apart, and single spaces; a line break stands between two."""
    text = _RUN.sub(r" \g<0> ", text.translate(_REPLACED))
    return _SPACES.sub(" ", _LINE_BREAKS.sub(" \n ", text)).strip()
