"""From an admitted request to its response, streamed or whole; either way the work ends when the client leaves."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from typing import Any, Protocol

from fastapi import Request
from starlette.responses import JSONResponse, Response

from gpt2svc.api.disconnect import unless_disconnected
from gpt2svc.api.openai.stream import CompletionStream
from gpt2svc.api.services import Services
from gpt2svc.completions.completion import Completion
from gpt2svc.completions.result import CompletionResult, collect
from gpt2svc.completions.service import CompletionRequest


class Answer(Protocol):
    def whole(self, result: CompletionResult) -> Mapping[str, Any]: ...

    def chunks(self) -> AsyncIterator[Mapping[str, Any]]: ...


async def answer(
    services: Services,
    request: Request,
    asked: CompletionRequest,
    answer_of: Callable[[Completion], Answer],
    *,
    is_stream: bool,
) -> Response:
    """Raises what CompletionService.begin and the engine raise; in a stream the latter is its last event."""
    if is_stream:
        completion = await services.completions.begin(asked)
        return CompletionStream(completion, answer_of(completion).chunks(), services.settings)

    async def whole() -> Response:
        completion = await services.completions.begin(asked)
        with closing(completion):
            return JSONResponse(answer_of(completion).whole(await collect(completion)))

    return await unless_disconnected(request, whole())
