"""FileDownload: one file from the hub to the disk: goes on where it was cut, and is verified before it counts."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from gpt2svc.errors import ModelDownloadError
from gpt2svc.models.hub_listing import HubFile
from gpt2svc.models.hub_session import HubSession, HubUnreachableError

if TYPE_CHECKING:
    from hashlib import _Hash

_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A download gives up after `max_attempts` attempts in a row that each brought fewer than `min_bytes`.

    An attempt is also cut off when a whole `window_s` seconds bring fewer than `min_bytes`.
    """

    max_attempts: int = 5
    first_delay_s: float = 1.0  # doubles from attempt to attempt
    max_delay_s: float = 20.0
    window_s: float = 60.0
    min_bytes: int = 16_384


class FileDownload:
    """`path` is where the file at URL path `url_path` goes; until it is whole it lies beside it as `<name>.part`."""

    def __init__(
        self,
        session: HubSession,
        url_path: str,
        file: HubFile,
        path: Path,
        *,
        policy: RetryPolicy,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._session = session
        self._url_path = url_path
        self._file = file
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._policy = policy
        self._on_bytes = on_bytes

    def run(self) -> None:
        """Download unless it is there already; `on_bytes` is told how many bytes of it are on the disk.

        Raises ModelDownloadError: HubUnreachableError where what has arrived is kept for the next time, others where
        what came is not what was announced and was deleted. Raises OSError where the disk refuses.
        """
        if self._path.is_file():
            self._on_bytes(self._file.size)
            return
        was_resumed = self._size_of_part() > 0
        digest = self._fetch()
        if digest.hexdigest() != self._file.checksum and was_resumed:
            # The old part may have been damaged, on a disk that was full for one: once more, from the start.
            self._part.unlink()
            digest = self._fetch()
        if digest.hexdigest() != self._file.checksum:
            self._part.unlink()
            raise ModelDownloadError(
                f"{self._file.name} arrived with another checksum than the hub announces; it was deleted. Try again."
            )
        self._part.replace(self._path)

    def _fetch(self) -> "_Hash":
        """Make the part whole, in as many attempts as it takes. Returns the digest of its content."""
        attempts, delay = self._policy.max_attempts, self._policy.first_delay_s
        while True:
            size_before = self._size_of_part()
            try:
                return self._attempt()
            except HubUnreachableError:
                if self._size_of_part() - size_before >= self._policy.min_bytes:
                    attempts, delay = self._policy.max_attempts, self._policy.first_delay_s
                else:
                    attempts -= 1
                if attempts <= 0:
                    raise
                time.sleep(delay)
                delay = min(2 * delay, self._policy.max_delay_s)

    def _attempt(self) -> "_Hash":
        digest = self._file.new_digest()
        with self._part.open("a+b") as part:
            part.seek(0)
            while chunk := part.read(_CHUNK_BYTES):
                digest.update(chunk)
            size = part.tell()
            if size > self._file.size:
                part.truncate(0)
                size, digest = 0, self._file.new_digest()
            self._on_bytes(size)
            if size < self._file.size:
                headers = {"Range": f"bytes={size}-"} if size else {}
                with self._session.open(self._url_path, headers=headers) as response:
                    if size and not _continues_at(response, size):
                        part.truncate(0)
                        size, digest = 0, self._file.new_digest()
                    pace = _Pace(self._policy, size)
                    # NOTE: no chunk size: httpx would gather bytes up to it, and lose them when the connection breaks.
                    for chunk in response.iter_raw():
                        size += len(chunk)
                        if size > self._file.size:
                            break
                        part.write(chunk)
                        digest.update(chunk)
                        self._on_bytes(size)
                        pace.check(size)
            part.flush()
            os.fsync(part.fileno())
        if size > self._file.size:
            self._part.unlink()
            raise ModelDownloadError(
                f"{self._file.name} is longer than the {self._file.size:,} bytes that the hub announces; "
                "it was deleted."
            )
        if size < self._file.size:
            raise HubUnreachableError(
                f"{self._file.name} broke off after {size:,} of {self._file.size:,} bytes. "
                "Pull again to go on from there."
            )
        return digest

    def _size_of_part(self) -> int:
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0


class _Pace:
    """Notices a server that keeps the connection alive with hardly a byte."""

    def __init__(self, policy: RetryPolicy, size: int) -> None:
        self._policy = policy
        self._window_end = time.monotonic() + policy.window_s
        self._size = size

    def check(self, size: int) -> None:
        """Raises HubUnreachableError at the end of a window that brought too little. `size` is what there is now."""
        if time.monotonic() < self._window_end:
            return
        if size - self._size < self._policy.min_bytes:
            raise HubUnreachableError("The hub sends next to nothing. Try again later: what has arrived is kept.")
        self._window_end = time.monotonic() + self._policy.window_s
        self._size = size


def _continues_at(response: httpx.Response, size: int) -> bool:
    """Whether the server sends the rest that was asked for, not the whole file."""
    return response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {size}-")
