"""One vector for a text, through an engine."""

import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, Pooling, TokenOutput
from gpt2svc.errors import EngineError
from gpt2svc.worker.protocol import EngineClient

_NO_TOKENS = SamplingParams(seed=0, max_new_tokens=0)


@dataclass(frozen=True, slots=True)
class PooledPrompt:
    values: bytes  # float32, little-endian
    num_cached_tokens: int

    @property
    def vector(self) -> tuple[float, ...]:
        return struct.unpack(f"<{len(self.values) // 4}f", self.values)


async def pool_prompt(
    engine: EngineClient, request_id: str, token_ids: tuple[int, ...], pooling: Pooling, *, owner: str = ""
) -> PooledPrompt:
    """The vector of 1 to `n_positions` tokens, without generating any; batched with whatever else the engine does.

    Cancelling it takes the request out of the engine. Raises EngineError where the engine refuses it or fails, and
    WorkerCrashedError and UnavailableError as `EngineClient.submit` does.
    """
    values = None
    num_cached = 0
    request = EngineRequest(request_id, token_ids, _NO_TOKENS, owner, pooling=pooling)
    outputs = cast(AsyncGenerator[TokenOutput, None], engine.submit(request))
    async with aclosing(outputs):  # an error in mid-stream must not leave the request behind until it is collected
        async for output in outputs:
            values = output.pooled if output.pooled is not None else values
            num_cached = max(num_cached, output.num_cached_tokens)
            if output.finish_reason == "error":
                raise EngineError(output.error or "The engine could not read this text.")
            if output.finish_reason == "abort":
                raise EngineError("The engine gave up reading this text.")
    if values is None:
        raise EngineError("The engine told nothing of this text.")
    return PooledPrompt(values, num_cached)
