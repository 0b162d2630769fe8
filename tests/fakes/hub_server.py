"""A Hugging Face hub on loopback: the listing and the files, and every way in which a server can misbehave."""

import hashlib
import json
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Fault:
    """What one request gets instead of the file. The fields that are set apply together."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_after: int | None = None  # bytes of this answer, then the connection closes
    is_endless: bool = False  # no length, zeros until the client leaves
    ignores_range: bool = False


@dataclass(frozen=True)
class SeenRequest:
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]


@dataclass
class Repository:
    files: dict[str, bytes]
    commit: str = COMMIT
    large: frozenset[str] = frozenset()  # kept as the hub keeps large files: with a SHA-256
    listing: dict[str, Any] = field(default_factory=dict)  # laid over the truthful listing


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # joined when the server closes: no test leaves one behind

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves early is no error, and must not be shown among what a command under test says."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class HubServer:
    """`url` is its endpoint. `repositories` by "owner/name"; `faults` by path's last part, used up one a request."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[SeenRequest] = []
        self._faults: dict[str, deque[Fault]] = {}
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, repo_id: str, files: Mapping[str, bytes] | Path, **changes: Any) -> Repository:
        """A repository with these files, or with those of a folder. Safetensors files count as large."""
        if isinstance(files, Path):
            files = {file.name: file.read_bytes() for file in files.iterdir()}
        large = frozenset(name for name in files if name.endswith((".safetensors", ".bin")))
        self.repositories[repo_id] = Repository(dict(files), **{"large": large, **changes})
        return self.repositories[repo_id]

    def fail(self, name: str, *faults: Fault) -> None:
        """The next requests for a path that ends in `name` meet these faults, in order."""
        self._faults.setdefault(name, deque()).extend(faults)

    def take_fault(self, path: str) -> Fault:
        faults = self._faults.get(path.rsplit("/", 1)[-1])
        return faults.popleft() if faults else Fault()

    def ranges(self, name: str) -> list[str | None]:
        """The Range header of each request for a file, in order."""
        return [seen.headers.get("range") for seen in self.requests if seen.path.endswith("/" + name)]

    def downloads(self) -> list[str]:
        """Names of the files that were asked for, in order."""
        return [seen.path.rsplit("/", 1)[-1] for seen in self.requests if "/resolve/" in seen.path]

    @contextmanager
    def running(self) -> Iterator["HubServer"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            hub.requests.append(SeenRequest(unquote(address.path), parse_qs(address.query), headers))
            parts = unquote(address.path).strip("/").split("/")
            fault = hub.take_fault(address.path)
            content = self._listing(parts) if parts[0] == "api" else self._file(parts)
            if fault.status is not None:
                self._answer(fault.status, fault.body or b"", fault)
            elif fault.is_endless:
                self._endless()
            elif content is None:
                self._answer(404, b"{}", Fault(headers={"X-Error-Code": "RepoNotFound"}))
            else:
                self._content(fault.body if fault.body is not None else content, fault)

        def _listing(self, parts: list[str]) -> bytes | None:
            # api / models / owner / name / revision / which
            repository = hub.repositories.get("/".join(parts[2:4]))
            if repository is None:
                return None
            siblings = []
            for name, content in repository.files.items():
                entry: dict[str, Any] = {"rfilename": name, "size": len(content)}
                entry["blobId"] = hashlib.sha1(b"blob %d\x00" % len(content) + content).hexdigest()
                if name in repository.large:
                    entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
                siblings.append(entry)
            return json.dumps({"sha": repository.commit, "siblings": siblings, **repository.listing}).encode()

        def _file(self, parts: list[str]) -> bytes | None:
            # owner / name / resolve / commit / file
            repository = hub.repositories.get("/".join(parts[:2]))
            if repository is None or parts[2:4] != ["resolve", repository.commit]:
                return None
            return repository.files.get("/".join(parts[4:]))

        def _content(self, content: bytes, fault: Fault) -> None:
            asked = self.headers.get("Range")
            if asked is None or fault.ignores_range:
                self._answer(200, content, fault)
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            self._answer(206, content[start:], Fault(headers={**headers, **fault.headers}, cut_after=fault.cut_after))

        def _answer(self, status: int, body: bytes, fault: Fault) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if fault.cut_after is not None:
                body = body[: fault.cut_after]
                self.close_connection = True
            self.wfile.write(body)

        def _endless(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            try:
                while True:
                    self.wfile.write(b"\x00" * 65536)
            except OSError:
                return  # the client has left, as it should

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler
