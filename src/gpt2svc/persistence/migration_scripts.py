"""The Alembic scripts that this release carries."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from gpt2svc.errors import StorageError

# Stated here as well as in the scripts, so that a start with an up-to-date database need not import alembic (0.2 s).
HEAD_REVISION: Final = "20261121_responses"


@dataclass(frozen=True, slots=True)
class MigrationScripts:
    """`folder` holds env.py and versions/; `head` is the newest revision there."""

    folder: Path
    head: str

    @classmethod
    def bundled(cls) -> Self:
        """Raises StorageError when the installation is incomplete."""
        return cls(locate_migrations(Path(__file__).resolve().parent), HEAD_REVISION)


def locate_migrations(package: Path) -> Path:
    """The scripts' folder for the `persistence` package in this folder.

    An installed wheel has them in the package as `migrations`; a source checkout has them at its root as `alembic`.
    Raises StorageError.
    """
    installed = package / "migrations"
    candidates = [installed]
    if package.parts[-3:] == ("src", "gpt2svc", "persistence"):
        candidates.append(package.parents[2] / "alembic")
    for folder in candidates:
        if (folder / "env.py").is_file():
            return folder
    raise StorageError(f"The installation is incomplete: {installed} is missing. Install gpt2svc again.")
