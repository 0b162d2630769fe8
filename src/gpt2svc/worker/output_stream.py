"""The hand-over of one request's outputs from the connection to whoever reads them."""

import asyncio

from gpt2svc.engine.types import TokenLogprobs, TokenOutput


class OutputStream:
    """One writer, one reader, one wake-up for each output at most.

    What a slow reader has missed is merged into one TokenOutput, so what waits here is bounded by the request's own
    `max_new_tokens`. Needs no lock: both sides live on the event loop.
    """

    def __init__(self) -> None:
        self._outputs: list[TokenOutput] = []
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, output: TokenOutput) -> None:
        self._outputs.append(output)
        self._wake()

    def fail(self, error: Exception) -> None:
        """`get` raises this once what came before has been read."""
        self._error = error
        self._wake()

    async def get(self) -> TokenOutput:
        """What has come since the last call; waits for it. Raises what `fail` was given."""
        while not self._outputs:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        outputs, self._outputs = self._outputs, []
        return outputs[0] if len(outputs) == 1 else _merged(outputs)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _merged(outputs: list[TokenOutput]) -> TokenOutput:
    last = outputs[-1]
    return TokenOutput(
        last.request_id,
        token_ids=tuple(token_id for output in outputs for token_id in output.token_ids),
        logprobs=_joined([output.logprobs for output in outputs]),
        finish_reason=last.finish_reason,
        error=last.error,
        num_cached_tokens=max(output.num_cached_tokens for output in outputs),
        prompt_logprobs=_joined([output.prompt_logprobs for output in outputs]),
        next_token=next((output.next_token for output in outputs if output.next_token is not None), None),
    )


def _joined(pieces: list[tuple[TokenLogprobs, ...] | None]) -> tuple[TokenLogprobs, ...] | None:
    there = [piece for piece in pieces if piece is not None]
    return tuple(each for piece in there for each in piece) if there else None
