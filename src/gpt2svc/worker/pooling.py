"""One vector for a text, through an engine."""

import struct
from dataclasses import dataclass

from gpt2svc.engine.sampling_params import NO_TOKENS
from gpt2svc.engine.types import EngineRequest, Pooling
from gpt2svc.errors import EngineError
from gpt2svc.worker.protocol import EngineClient
from gpt2svc.worker.reading import read_text


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
    """The vector of 1 to `n_positions` tokens, without generating any. Raises as `read_text` does."""
    request = EngineRequest(request_id, token_ids, NO_TOKENS, owner, pooling=pooling)
    outputs = await read_text(engine, request)
    values = next((output.pooled for output in reversed(outputs) if output.pooled is not None), None)
    if values is None:
        raise EngineError("The engine told nothing of this text.")
    return PooledPrompt(values, max(output.num_cached_tokens for output in outputs))
