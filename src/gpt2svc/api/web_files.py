"""The files of the web page, read once and kept: they are few and small, and no request for one waits for a disk."""

import gzip
import mimetypes
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from gpt2svc.api.lean_source import lean_script, lean_style

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
_PAGE = "index.html"
_MODULE = re.compile(r'(?:^|;)import\b(?:[^"]*?\bfrom\b)?\s*"(\.[^"]+)"', re.MULTILINE)
_MIN_GZIP_BYTES = 512


@dataclass(frozen=True, slots=True)
class WebFile:
    media_type: str
    content: bytes
    gzipped: bytes | None  # None where it would not be smaller

    @classmethod
    def of(cls, name: str, content: bytes) -> Self:
        suffix = Path(name).suffix
        media_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        gzipped = gzip.compress(content, 6, mtime=0) if len(content) >= _MIN_GZIP_BYTES else None
        return cls(media_type, content, gzipped if gzipped is not None and len(gzipped) < len(content) else None)


class WebFiles:
    """`page` is the page itself; `files` maps paths below the root to what it asks for.

    Their paths hold a digest of all of them, so that a browser may keep them for ever and never mixes two releases.
    """

    def __init__(self, folder: Path) -> None:
        # NOTE: every file that a page asks for travels lean; what is read here is what people read.
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        contents = {name: _served(folder / name) for name in names if Path(name).suffix in _TYPES}
        digest = sha256()
        for name, content in contents.items():
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        self.prefix = f"web/{digest.hexdigest()[:16]}"
        page = contents.pop(_PAGE).decode().replace('"web/', f'"{self.prefix}/')
        preloads = (f'<link rel="modulepreload" href="{self.prefix}/{name}">' for name in modules(contents))
        self.page = WebFile.of(_PAGE, page.replace("<!-- modulepreload -->", "\n    ".join(preloads)).encode())
        self.files = {f"/{self.prefix}/{name}": WebFile.of(name, content) for name, content in contents.items()}

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(self.files)


def _served(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".js":
        return lean_script(content.decode()).encode()
    return lean_style(content.decode()).encode() if path.suffix == ".css" else content


def modules(contents: dict[str, bytes], entry: str = "js/main.js") -> list[str]:
    """`entry` and every module that it imports, directly or not, so that a browser asks for all of them at once."""
    found: list[str] = []
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name in found or name not in contents:
            continue
        found.append(name)
        base = Path(name).parent
        for target in _MODULE.findall(contents[name].decode()):
            waiting.append(_normal(base / target))
    return sorted(found)


def _normal(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
