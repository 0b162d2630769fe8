"""HubClient: pulls a model from a Hugging Face hub: only the files that are needed, resumable, verified.

Why not the hub library's own downloader: it throws away what has arrived when the process ends, compares sizes but no
checksums, and reads whatever a server sends. Tokens and the endpoint are looked up as that library does.
"""

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from filelock import FileLock

from gpt2svc.disk import is_disk_full
from gpt2svc.errors import ModelDownloadError, ModelFormatError, UnsafeModelError
from gpt2svc.models.chat_template import CHAT_TEMPLATE_NAME
from gpt2svc.models.config import CONFIG_NAME, GPT2Config
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.hub_file import FileDownload, RetryPolicy
from gpt2svc.models.hub_listing import HubFile, HubListing
from gpt2svc.models.hub_name import HubName
from gpt2svc.models.hub_session import DEFAULT_ENDPOINT, OFFLINE_HINT, HubSession
from gpt2svc.models.safetensors_header import HOW_TO_CONVERT
from gpt2svc.models.store import ModelStore
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.models.tokenizer_files import TOKENIZER_FILES
from gpt2svc.models.weight_files import INDEX_NAME, PICKLE_SUFFIXES, WEIGHTS_NAME

_SMALL_FILES: Final = (CONFIG_NAME, "generation_config.json", CHAT_TEMPLATE_NAME, *TOKENIZER_FILES)
_MAX_SMALL_BYTES: Final = 64 << 20
_SHARD: Final = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_SPARE_BYTES: Final = 64 << 20  # left free on the disk: the database lives there too
_PROGRESS_INTERVAL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """How far a pull is: bytes on the disk, of the file in progress and of all files together."""

    file: str
    file_bytes: int
    file_total: int
    num_bytes: int
    total_bytes: int

    @property
    def percent(self) -> float:
        """0 to 100, of all files."""
        return 100.0 * self.num_bytes / self.total_bytes if self.total_bytes else 100.0


class HubClient:
    """Pulls into `models_dir` (laid out as `ModelStore` says). Blocking: call it from a thread or a worker process."""

    def __init__(
        self,
        models_dir: Path,
        *,
        endpoint: str = DEFAULT_ENDPOINT,
        token: str | None = None,
        is_offline: bool = False,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._models_dir = models_dir
        self._store = ModelStore(models_dir)
        self._endpoint = endpoint
        self._token = token
        self._is_offline = is_offline
        self._policy = policy or RetryPolicy()

    @classmethod
    def from_environment(cls, models_dir: Path, *, endpoint: str | None = None) -> Self:
        """As the hub's own tools are set up: HF_ENDPOINT, HF_TOKEN or the saved log-in, HF_HUB_OFFLINE.

        `endpoint` goes before HF_ENDPOINT.
        """
        from huggingface_hub import constants, get_token

        return cls(
            models_dir,
            endpoint=endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT,
            token=get_token(),
            is_offline=constants.is_offline_mode(),
        )

    def pull(self, name: str, *, on_progress: Callable[[DownloadProgress], None] | None = None) -> ModelFolder:
        """Download the model called `name`, or bring it up to date, and return its folder.

        `on_progress` is called at most some ten times a second, from this thread; what it raises stops the download,
        which the next pull continues. A second pull of the same model waits for the first.

        Raises InvalidInputError for what is no hub name; ModelDownloadError when the hub can't be reached, has no such
        model, keeps it behind its terms, sends something else than it announces, or the disk is full; and
        UnsafeModelError or ModelFormatError for a model that could not be used, before its weights are downloaded
        where possible. A model folder appears only when it is whole and valid.
        """
        hub_name = HubName.parse(name)
        if self._is_offline:
            raise ModelDownloadError(f"HF_HUB_OFFLINE is set, so {name} is not downloaded. {OFFLINE_HINT}")
        try:
            with HubSession(self._endpoint, self._token) as session:
                listing = HubListing.fetch(session, hub_name)
                self._models_dir.mkdir(parents=True, exist_ok=True)
                with FileLock(self._store.lock_file(hub_name)):
                    if not self._store.snapshot_dir(hub_name, listing.commit).is_dir():
                        self._download(session, hub_name, listing, on_progress or _ignore)
                    path = self._store.publish(hub_name, listing.commit)
        except OSError as error:
            raise _disk_error(error, self._models_dir) from error
        return ModelFolder.open(path, name=name, revision=listing.commit)

    def _download(
        self, session: HubSession, name: HubName, listing: HubListing, on_progress: Callable[[DownloadProgress], None]
    ) -> None:
        """Fill the snapshot's partial folder and check it."""
        small, weights = _small_files(listing, name), _weight_files(listing, name)
        partial = self._store.partial_dir(name, listing.commit)
        self._store.remove_other_partials(name, listing.commit)
        partial.mkdir(parents=True, exist_ok=True)
        report = _ProgressReport((*small, *weights), on_progress)
        self._check_space(partial, (*small, *weights))

        def fetch(file: HubFile) -> None:
            url_path = f"/{name.repo_id}/resolve/{listing.commit}/{file.name}"
            FileDownload(
                session,
                url_path,
                file,
                partial / file.name,
                policy=self._policy,
                on_bytes=lambda num_bytes: report.update(file, num_bytes),
            ).run()

        try:
            for file in small:
                fetch(file)
            # Before the gigabytes: a model that could not be used is refused now.
            GPT2Config.from_file(partial / CONFIG_NAME)
            Tokenizer.from_folder(partial)
            for file in weights:
                fetch(file)
            ModelFolder.open(partial, name=str(name), revision=listing.commit).load_tokenizer()
        except (ModelFormatError, UnsafeModelError):
            shutil.rmtree(partial)
            raise

    def _check_space(self, partial: Path, files: tuple[HubFile, ...]) -> None:
        present = sum(file.stat().st_size for file in partial.iterdir())
        needed = sum(file.size for file in files) - present + _SPARE_BYTES
        free = shutil.disk_usage(partial).free
        if needed > free:
            raise ModelDownloadError(
                f"The disk of {self._models_dir} is too full: {needed:,} bytes are needed and {free:,} are free."
            )


def _small_files(listing: HubListing, name: HubName) -> tuple[HubFile, ...]:
    if CONFIG_NAME not in listing.files:
        raise ModelFormatError(f"{name} has no {CONFIG_NAME} on the hub: it is not a model.", field=CONFIG_NAME)
    files = tuple(listing.files[known] for known in _SMALL_FILES if known in listing.files)
    for file in files:
        if file.size > _MAX_SMALL_BYTES:
            raise ModelFormatError(f"{name}: {file.name} has {file.size:,} bytes; that is no such file.")
    return files


def _weight_files(listing: HubListing, name: HubName) -> tuple[HubFile, ...]:
    if WEIGHTS_NAME in listing.files:
        return (listing.files[WEIGHTS_NAME],)
    shards = tuple(file for _, file in sorted(listing.files.items()) if _SHARD.fullmatch(file.name))
    if INDEX_NAME in listing.files and shards:
        return (listing.files[INDEX_NAME], *shards)
    if any(Path(file).suffix.lower() in PICKLE_SUFFIXES for file in listing.names):
        raise UnsafeModelError(f"{name} has only pickle weights on the hub. {HOW_TO_CONVERT}", field="model")
    raise ModelFormatError(f"{name} has no {WEIGHTS_NAME} on the hub.", field="model")


class _ProgressReport:
    """Adds up the files, and keeps the calls to a rate that a display can use."""

    def __init__(self, files: tuple[HubFile, ...], on_progress: Callable[[DownloadProgress], None]) -> None:
        self._bytes = dict.fromkeys((file.name for file in files), 0)
        self._total_bytes = sum(file.size for file in files)
        self._on_progress = on_progress
        self._next_time = 0.0

    def update(self, file: HubFile, num_bytes: int) -> None:
        self._bytes[file.name] = num_bytes
        now = time.monotonic()
        if now >= self._next_time or num_bytes == file.size:
            self._next_time = now + _PROGRESS_INTERVAL_S
            total = sum(self._bytes.values())
            self._on_progress(DownloadProgress(file.name, num_bytes, file.size, total, self._total_bytes))


def _ignore(progress: DownloadProgress) -> None:
    """For callers that don't watch."""


def _disk_error(error: OSError, models_dir: Path) -> ModelDownloadError:
    if is_disk_full(error):
        return ModelDownloadError(f"The disk of {models_dir} is full. Free some space and pull again to go on.")
    return ModelDownloadError(f"Can't write to {models_dir}: {error.strerror or error}.")
