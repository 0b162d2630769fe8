"""HubName: the name of a model on the hub, and of the folder that it is kept in here."""

import re
from dataclasses import dataclass
from typing import Final, Self

from gpt2svc.errors import InvalidInputError

DEFAULT_REVISION: Final = "main"

_ALIASES: Final = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
    "openai-gpt": "openai-community/openai-gpt",
}

# NOTE: fullmatch only: `$` would also accept a line break at the end. ".." and "--" are refused apart: the first climbs
# out of folders, the second joins owner and repository in a folder's name.
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubName:
    """`owner/repository`, with the branch, tag or commit that was asked for."""

    owner: str
    repository: str
    revision: str = DEFAULT_REVISION

    @classmethod
    def parse(cls, name: str) -> Self:
        """From `owner/repository`, an alias such as `gpt2`, each with or without `@revision`.

        Raises InvalidInputError.
        """
        base, at, revision = name.partition("@")
        owner, _, repository = _ALIASES.get(base, base).partition("/")
        is_valid = all(_PART.fullmatch(part) and ".." not in part and "--" not in part for part in (owner, repository))
        if not is_valid or len(owner) + len(repository) > 96:
            raise InvalidInputError(
                f"{name[:100]!r} is not a model's name. Use 'starter', a hub name such as 'openai-community/gpt2', "
                f"or one of {', '.join(_ALIASES)}.",
                field="model",
            )
        if at and not is_revision(revision):
            raise InvalidInputError(
                f"{revision[:100]!r} is not a revision: a branch, a tag or a commit is expected after '@'.",
                field="model",
            )
        return cls(owner, repository, revision or DEFAULT_REVISION)

    @property
    def repo_id(self) -> str:
        return f"{self.owner}/{self.repository}"

    @property
    def folder_name(self) -> str:
        """One folder for all revisions; `from_folder_name` reads it back."""
        return f"{self.owner}--{self.repository}"

    @classmethod
    def from_folder_name(cls, folder_name: str) -> Self | None:
        """Of a folder as `folder_name` names them, or None for any other folder."""
        owner, separator, repository = folder_name.partition("--")
        if not separator:
            return None
        try:
            return cls.parse(f"{owner}/{repository}")
        except InvalidInputError:
            return None

    def __str__(self) -> str:
        return self.repo_id if self.revision == DEFAULT_REVISION else f"{self.repo_id}@{self.revision}"


def is_revision(text: str) -> bool:
    """Whether `text` can be the name of a branch or tag, or a commit."""
    return _REVISION.fullmatch(text) is not None and ".." not in text and "//" not in text


def is_commit(text: str) -> bool:
    """Whether `text` is a whole commit hash: 40 hexadecimal digits in lower case."""
    return _COMMIT.fullmatch(text) is not None
