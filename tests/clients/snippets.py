"""The programs of a document, as a reader copies them."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "clients.md"
DOCUMENTED_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Snippet:
    heading: str
    language: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.heading} ({self.language})"

    def at(self, url: str) -> str:
        """The program for a service at another address."""
        return self.code.replace(DOCUMENTED_URL, url)


def snippets() -> list[Snippet]:
    found = []
    for section in re.split(r"^## ", DOCUMENT.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        heading = section.split("\n", 1)[0]
        blocks = re.findall(r"^```(\w+)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        found += [Snippet(heading, language, code) for language, code in blocks]
    return found
