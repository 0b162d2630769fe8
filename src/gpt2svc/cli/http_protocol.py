"""HTTP/1.1 on the wire: uvicorn's with httptools, which reads a request in a fraction of the time that h11 needs.

Two things are added: a bound on the size of a request's head, which h11 has and httptools does not; and a gate, which
answers what a full service refuses at the end of the head, before there is an ASGI request.
"""

import asyncio
from functools import partial
from typing import Any, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from gpt2svc.api.refusal_gate import RefusalGate

MAX_HEAD_BYTES = 16 * 1024


def make_protocol(gate: RefusalGate) -> type[asyncio.Protocol]:
    """What uvicorn makes a connection's protocol with."""
    return cast(type[asyncio.Protocol], partial(GatedProtocol, gate=gate))


class BoundedHeadProtocol(HttpToolsProtocol):
    """400 and the end of the connection for a head of more than MAX_HEAD_BYTES.

    Counted twice: the parser shows a header only when it is whole, so one without an end is seen by what arrives; and
    a head that arrives in one piece is over by then, so its headers are counted too.
    """

    _is_in_head = True
    _num_arrived = 0
    _num_read = 0

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._num_arrived += len(data)
        super().data_received(data)
        if self._is_in_head and self._num_arrived > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request may have at most {MAX_HEAD_BYTES} bytes.")

    # What follows is called by the parser; what it raises ends in uvicorn's answer to what is not HTTP: 400.

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)  # with the colon, the space and the end of the line
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._begin_head()
        super().on_message_complete()

    def _begin_head(self) -> None:
        """Of the next request on this connection."""
        self._is_in_head = True
        self._num_arrived = self._num_read = 0

    def _count(self, num_bytes: int) -> None:
        self._num_read += num_bytes
        if self._num_read > MAX_HEAD_BYTES:
            raise ValueError("the head is too large")


class GatedProtocol(BoundedHeadProtocol):
    """Asks `gate` about each request, and writes its answer where it has one. The app never hears of those."""

    _is_refused = False  # the request whose body is arriving: nobody reads it
    _is_kept = True  # the connection, after that request

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        gate: RefusalGate,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gate = gate

    def on_headers_complete(self) -> None:
        refusal = self._ask_gate()
        if refusal is None:
            super().on_headers_complete()
            return
        self._is_in_head = False
        self._is_refused = True
        self._is_kept = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        lines = [b"%s: %s\r\n" % header for header in self.server_state.default_headers]
        if not self._is_kept:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join((STATUS_LINE[429], *lines, refusal)))

    def on_body(self, body: bytes) -> None:
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_refused:
            super().on_message_complete()
            return
        self._is_refused = False
        self._begin_head()
        self.on_response_complete()  # counts it, and gives the connection its time until the next one
        if not self._is_kept:
            self.transport.close()

    def _ask_gate(self) -> bytes | None:
        if self.parser.get_method() != b"POST" or b"%" in self.url or self.parser.should_upgrade():
            return None
        if self.cycle is not None and not self.cycle.response_complete:
            return None  # its answer has to come after that of the request before it
        scope: Scope = {
            "method": "POST",
            "path": self.url.partition(b"?")[0].decode("latin-1"),
            "headers": self.headers,
        }
        return self._gate.refuse(scope)
