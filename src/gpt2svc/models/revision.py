"""The name of a checkpoint's content: equal for equal weights, wherever they lie."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gpt2svc.errors import ModelFormatError

_MAX_CACHED_FILES: Final = 4096


class WeightsHasher:
    """SHA-256 of files, remembered while their size and times stay the same. Safe to share between threads."""

    def __init__(self) -> None:
        self._digests: dict[tuple[str, int, int, int], bytes] = {}

    def revision(self, files: Sequence[Path]) -> str:
        """First 12 hex digits of SHA-256 over the files' own digests, in the order given. Raises ModelFormatError."""
        whole = hashlib.sha256()
        for file in files:
            whole.update(self._digest(file))
        return whole.hexdigest()[:12]

    def _digest(self, file: Path) -> bytes:
        try:
            stat = file.stat()
            key = (str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns)
            digest = self._digests.get(key)
            if digest is None:
                with file.open("rb", buffering=0) as stream:
                    digest = hashlib.file_digest(stream, "sha256").digest()
                if len(self._digests) >= _MAX_CACHED_FILES:
                    self._digests.clear()
                self._digests[key] = digest
        except OSError as error:
            raise ModelFormatError(f"Can't read {file}: {error.strerror or error}.", field=file.name) from error
        return digest
