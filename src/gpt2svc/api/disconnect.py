"""An answer that is worked out only while its client waits for it, also where nothing is sent before it is done."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

CLIENT_LEFT: Final = 499  # nobody reads it; it stands in the log


async def unless_disconnected(request: Request, answer: Coroutine[Any, Any, Response]) -> Response:
    """The response that `answer` makes; an empty one, with `answer` cancelled at once, where the client leaves first.

    The request's body must have been read. Raises what `answer` raises.
    """
    answering = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else Response(status_code=CLIENT_LEFT)
    finally:
        leaving.cancel()
        answering.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
