"""Texts that an engine reads and writes nothing after."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, cast

from gpt2svc.engine.types import EngineRequest, TokenOutput
from gpt2svc.errors import EngineError, UnavailableError, WorkerCrashedError
from gpt2svc.worker.protocol import EngineClient

_RETRY_AFTER_S: Final = 1.0


async def read_text(engine: EngineClient, request: EngineRequest) -> list[TokenOutput]:
    """All that the engine tells of a request with NO_TOKENS, batched with whatever else it does.

    Cancelling it takes the request out of the engine. Raises EngineError where the engine refuses it or fails, and
    UnavailableError as `EngineClient.submit` does, and where the worker's process dies: nothing was written that could
    be lost, so the client may simply ask again.
    """
    found = []
    outputs = cast(AsyncGenerator[TokenOutput, None], engine.submit(request))
    try:
        async with aclosing(outputs):  # an error in mid-stream must not leave the request behind until it is collected
            async for output in outputs:
                if output.finish_reason == "error":
                    raise EngineError(output.error or "The engine could not read this text.")
                if output.finish_reason == "abort":
                    raise EngineError("The engine gave up reading this text.")
                found.append(output)
    except WorkerCrashedError as error:
        raise UnavailableError(error.message, retry_after_s=_RETRY_AFTER_S) from error
    return found
