"""ModelCatalogue: the models that are on this machine, by name. Torch-free; reads headers, not weights."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, Literal

from gpt2svc.errors import InvalidInputError, ModelError, ModelFormatError, NotFoundError
from gpt2svc.models.config import CONFIG_NAME
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.hub_name import HubName
from gpt2svc.models.revision import WeightsHasher
from gpt2svc.models.store import ModelStore

STARTER: Final = "starter"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model on this machine. `folder` is None, and `problem` says why, where it can't be used."""

    name: str
    source: Literal["bundled", "hub"]
    path: Path
    revision: str
    folder: ModelFolder | None = None
    problem: str | None = None


class ModelCatalogue:
    """`models_dir` holds what was pulled from the hub; `starter_dir` is the bundled model's, by default the package's.

    Safe to share between threads.
    """

    def __init__(self, models_dir: Path, *, starter_dir: Path | None = None) -> None:
        self._store = ModelStore(models_dir)
        self._starter_dir = starter_dir
        self._hasher = WeightsHasher()

    def resolve(self, name: str, *, allow_folder: bool = False) -> ModelFolder | None:
        """The model called `name`, or None where it is the hub's and has not been pulled yet.

        `name` is "starter", a hub name or alias with or without `@revision`, or, only with `allow_folder`, the path
        of a folder. NOTE: pass `allow_folder` for what the operator configured, never for names that come in over
        HTTP: a client must not open folders of its choice.

        Raises InvalidInputError for what can't be a name, ModelFormatError and UnsafeModelError for a model that is
        here and can't be used.
        """
        if name == STARTER:
            return self._open_starter()
        if is_folder_path(name):
            if not allow_folder:
                raise InvalidInputError(
                    f"{name[:100]!r} is a folder: only the operator can name one (--model).", field="model"
                )
            return self._open_folder(name)
        # A folder that looks like a hub name ("runs/best") wins over the hub, as it does in transformers.
        if allow_folder and (Path(name) / CONFIG_NAME).is_file():
            return self._open_folder(name)
        hub_name = HubName.parse(name)
        commit = self._store.commit(hub_name)
        if commit is None:
            return None
        return ModelFolder.open(
            self._store.snapshot_dir(hub_name, commit), name=name, revision=commit, hasher=self._hasher
        )

    def require(self, name: str, *, allow_folder: bool = False) -> ModelFolder:
        """As `resolve`, and raises InvalidInputError for a model that has not been pulled."""
        folder = self.resolve(name, allow_folder=allow_folder)
        if folder is None:
            raise InvalidInputError(
                f"{name} is not on this machine. Download it with: gpt2svc models pull {name}", field="model"
            )
        return folder

    def list(self) -> list[CatalogueEntry]:
        """The bundled model, then the pulled ones by name; broken ones too."""
        entries = []
        try:
            starter = self._open_starter()
            entries.append(CatalogueEntry(STARTER, "bundled", starter.path, starter.revision, starter))
        except ModelError as error:
            entries.append(CatalogueEntry(STARTER, "bundled", self._starter_path(), "", problem=error.message))
        for name, commit, path in self._store.snapshots():
            try:
                folder = ModelFolder.open(path, name=str(name), revision=commit)
                entries.append(CatalogueEntry(str(name), "hub", path, commit, folder))
            except ModelError as error:
                entries.append(CatalogueEntry(str(name), "hub", path, commit, problem=error.message))
        return entries

    def remove(self, name: str) -> None:
        """Delete a pulled model: one snapshot where `name` has an `@revision`, else everything of its repository.

        Raises InvalidInputError for the bundled model and for folders, NotFoundError where nothing was pulled.
        """
        if name == STARTER:
            raise InvalidInputError("The bundled model is part of the program and can't be removed.", field="model")
        if is_folder_path(name):
            raise InvalidInputError(f"{name[:100]!r} was not pulled from the hub; delete the folder yourself.")
        hub_name = HubName.parse(name)
        has_revision = "@" in name
        commit = self._store.commit(hub_name) if has_revision else None
        if (has_revision and commit is None) or not self._store.remove(hub_name, commit):
            raise NotFoundError("model", name)

    def _open_starter(self) -> ModelFolder:
        path = self._starter_path()
        if not (path / CONFIG_NAME).is_file():
            raise ModelFormatError(
                "This installation comes without the bundled model; pull one from the hub instead "
                "(gpt2svc models pull openai-community/gpt2).",
                field="model",
            )
        return ModelFolder.open(path, name=STARTER, hasher=self._hasher)

    def _open_folder(self, name: str) -> ModelFolder:
        try:
            path = Path(name).expanduser().absolute()
        except RuntimeError as error:  # ~somebody who has no home here
            raise ModelFormatError(f"{name[:100]!r} is not a folder: {error}", field="model") from error
        return ModelFolder.open(path, name=name, hasher=self._hasher)

    def _starter_path(self) -> Path:
        return self._starter_dir or Path(str(resources.files("gpt2svc") / STARTER))


def is_folder_path(name: str) -> bool:
    """Whether `name` is written as a path: absolute, or with a leading `.` or `~`."""
    return name.startswith((".", "~")) or "\\" in name or Path(name).is_absolute()
