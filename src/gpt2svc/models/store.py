"""ModelStore: the folder in which models from the hub are kept.

    <models_dir>/<owner>--<repository>/
        <commit>/             a whole snapshot: it gets this name only when every file has arrived and was verified
        .<commit>.partial/    a download in progress, or one that was cut and will go on
        refs.json             branch or tag → commit, as of the last pull

A layout of our own instead of the hub library's cache: no links, so that a folder can be copied, mounted read-only or
deleted as it is; a folder that exists is whole; and what lies there is only what this program allows.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gpt2svc.errors import ModelFormatError
from gpt2svc.models.hub_name import HubName, is_commit, is_revision
from gpt2svc.models.json_file import read_json_object

_REFS_NAME: Final = "refs.json"
_MAX_REFS_BYTES: Final = 1 << 20
_MAX_REFS: Final = 1000


class ModelStore:
    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir

    def repository_dir(self, name: HubName) -> Path:
        return self._models_dir / name.folder_name

    def snapshot_dir(self, name: HubName, commit: str) -> Path:
        """Where the snapshot of a whole commit hash is, or would be."""
        return self.repository_dir(name) / commit

    def partial_dir(self, name: HubName, commit: str) -> Path:
        return self.repository_dir(name) / f".{commit}.partial"

    def lock_file(self, name: HubName) -> Path:
        """Locked by whoever downloads this repository."""
        return self._models_dir / f".{name.folder_name}.lock"

    def commit(self, name: HubName) -> str | None:
        """The commit that `name`'s revision stood for at the last pull, if its snapshot is here."""
        commit = name.revision if is_commit(name.revision) else self._refs(name).get(name.revision)
        return commit if commit is not None and self.snapshot_dir(name, commit).is_dir() else None

    def remove_other_partials(self, name: HubName, commit: str) -> None:
        """Delete cut downloads of commits that have been overtaken by `commit`. Call it with the lock held."""
        for folder in _folders(self.repository_dir(name)):
            if folder.name.endswith(".partial") and folder != self.partial_dir(name, commit):
                shutil.rmtree(folder)

    def publish(self, name: HubName, commit: str) -> Path:
        """Give a finished download its final name and remember its revision. Returns the snapshot's folder."""
        snapshot = self.snapshot_dir(name, commit)
        if not snapshot.is_dir():
            self.partial_dir(name, commit).rename(snapshot)
        if not is_commit(name.revision):
            refs = {**self._refs(name), name.revision: commit}
            newest = dict(list(refs.items())[-_MAX_REFS:])
            temporary = self.repository_dir(name) / f".{_REFS_NAME}.{uuid.uuid4().hex}"
            temporary.write_text(json.dumps(newest, indent=2) + "\n", encoding="utf-8")
            temporary.replace(self.repository_dir(name) / _REFS_NAME)
        return snapshot

    def snapshots(self) -> Iterator[tuple[HubName, str, Path]]:
        """Name, commit and folder of each snapshot, by name. The name carries a revision where one points there."""
        for repository in sorted(_folders(self._models_dir)):
            name = HubName.from_folder_name(repository.name)
            if name is None:
                continue
            revisions = {commit: revision for revision, commit in self._refs(name).items()}
            for snapshot in sorted(_folders(repository)):
                if is_commit(snapshot.name):
                    revision = revisions.get(snapshot.name, snapshot.name)
                    yield HubName(name.owner, name.repository, revision), snapshot.name, snapshot

    def remove(self, name: HubName, commit: str | None) -> bool:
        """Delete one snapshot, or with None the whole repository with its cut downloads. Says if there was any."""
        target = self.repository_dir(name) if commit is None else self.snapshot_dir(name, commit)
        if not target.is_dir() and not target.is_symlink():
            return False
        # Renamed first, so that a deletion that is cut short leaves no half of a model under a valid name.
        doomed = self._models_dir / f".deleted-{uuid.uuid4().hex}"
        target.rename(doomed)
        if doomed.is_symlink():
            doomed.unlink()
        else:
            shutil.rmtree(doomed)
        return True

    def _refs(self, name: HubName) -> dict[str, str]:
        path = self.repository_dir(name) / _REFS_NAME
        if not path.is_file():
            return {}
        try:
            refs = read_json_object(path, max_bytes=_MAX_REFS_BYTES)
        except ModelFormatError:
            return {}  # no more than a note of what was pulled: pulling again writes it anew
        return {
            revision: commit
            for revision, commit in refs.items()
            if isinstance(commit, str) and is_commit(commit) and is_revision(revision)
        }


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return [parent / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
