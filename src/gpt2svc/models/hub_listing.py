"""HubListing: what a repository on the hub holds at one commit."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from gpt2svc.errors import ModelDownloadError, ModelFormatError
from gpt2svc.models.hub_name import HubName, is_commit
from gpt2svc.models.hub_session import HubSession
from gpt2svc.models.json_file import parse_json_object

if TYPE_CHECKING:
    from hashlib import _Hash

_MAX_LISTING_BYTES: Final = 16 << 20
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_GIT_BLOB: Final = re.compile(r"[0-9a-f]{40}")
_MAX_SIZE: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub announces it: `size` in bytes, and one of two checksums in hexadecimal."""

    name: str
    size: int
    sha256: str | None  # of large files
    git_blob: str | None  # of small ones: SHA-1 over git's header and the content

    def new_digest(self) -> "_Hash":
        """A digest to feed with the content; compare its hexdigest with `checksum`."""
        if self.sha256 is not None:
            return hashlib.sha256()
        digest = hashlib.sha1(usedforsecurity=False)
        digest.update(b"blob %d\x00" % self.size)
        return digest

    @property
    def checksum(self) -> str:
        return self.sha256 or self.git_blob or ""


@dataclass(frozen=True, slots=True)
class HubListing:
    """The files at the top of a repository that have a size and a checksum, by name."""

    commit: str
    files: Mapping[str, HubFile]
    names: frozenset[str]  # of all files, those in folders too

    @classmethod
    def fetch(cls, session: HubSession, name: HubName) -> Self:
        """Ask the hub. Raises ModelDownloadError, also where it doesn't answer as a hub does."""
        path = f"/api/models/{name.repo_id}/revision/{quote(name.revision, safe='')}"
        body = session.read(path, params={"blobs": "true"}, max_bytes=_MAX_LISTING_BYTES)
        try:
            described = parse_json_object(body, source="the listing")
        except ModelFormatError as error:
            raise ModelDownloadError(
                f"{session.endpoint} does not answer as a Hugging Face hub does: {error.message} A proxy or a log-in "
                "page may be in the way; check HF_ENDPOINT if you set it."
            ) from error
        commit, siblings = described.get("sha"), described.get("siblings")
        if not isinstance(commit, str) or not is_commit(commit) or not isinstance(siblings, list):
            raise ModelDownloadError(f"{session.endpoint} does not say which commit and files {name} has.")
        if is_commit(name.revision) and commit != name.revision:
            raise ModelDownloadError(f"{session.endpoint} answers with another commit than {name.revision}.")
        entries = [entry for entry in siblings if isinstance(entry, dict)]
        files = [file for file in map(_hub_file, entries) if file is not None]
        return cls(
            commit=commit,
            files={file.name: file for file in files},
            names=frozenset(entry["rfilename"] for entry in entries if isinstance(entry.get("rfilename"), str)),
        )


def _hub_file(entry: Mapping[str, Any]) -> HubFile | None:
    name, large = entry.get("rfilename"), entry.get("lfs")
    if not isinstance(name, str) or "/" in name or "\\" in name:
        return None
    large = large if isinstance(large, dict) else {}
    size = large.get("size", entry.get("size"))
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MAX_SIZE:
        return None
    sha256 = large.get("sha256")
    git_blob = entry.get("blobId")
    if isinstance(sha256, str) and _SHA256.fullmatch(sha256):
        return HubFile(name, size, sha256, None)
    if not large and isinstance(git_blob, str) and _GIT_BLOB.fullmatch(git_blob):
        return HubFile(name, size, None, git_blob)
    return None
