"""Texts as vectors: the mean of a text's last hidden states, of length 1."""

import asyncio
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from gpt2svc.chat.side_by_side import side_by_side
from gpt2svc.completions.prompts import MAX_ESTIMATE, check_length
from gpt2svc.engine.types import Pooling
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.admission import Admission, Permit
from gpt2svc.generation.deadline import within_deadline
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.worker.availability import require_usable
from gpt2svc.worker.pooling import pool_prompt
from gpt2svc.worker.protocol import EngineClient, EnginePool

MAX_LANES = 8  # texts of one request that are read at the same time

EmbeddingInput = str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """`vectors` in the order of the inputs."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    num_tokens: int


class EmbeddingService:
    def __init__(self, engines: EnginePool, admission: Admission, supervisor: GenerationSupervisor) -> None:
        self._engines = engines
        self._admission = admission
        self._supervisor = supervisor
        self._numbers = itertools.count(1)

    async def embed(
        self,
        inputs: Sequence[EmbeddingInput],
        *,
        model: str | None = None,
        owner: str = "",
        num_dimensions: int | None = None,
    ) -> Embeddings:
        """A vector of length 1 for each input; with `num_dimensions`, its first so many numbers, again of length 1.

        Nothing is stored. A request takes a place for each of at most MAX_LANES texts that are read at a time.
        Cancelling it takes them out of the engine. Raises InvalidInputError, ContextWindowError, NotFoundError,
        OverloadedError, UnavailableError, ModelError, EngineError, DeadlineExceededError.
        """
        self._supervisor.require_accepting()
        permits = self._reserve(inputs, owner)
        try:
            engine = self._engines.get(model)
            require_usable(engine)
            size = _vector_size(engine)
            if num_dimensions is not None and size is not None and num_dimensions > size:
                raise InvalidInputError(
                    f"dimensions is {num_dimensions}; this model's vectors have {size} numbers.", field="dimensions"
                )
            prompts = await asyncio.to_thread(_encode, inputs, engine.tokenizer, engine.n_positions)
            for permit in permits:
                permit.resize(max(map(len, prompts)))
            async with within_deadline():
                vectors = await self._read(engine, prompts, owner, len(permits))
        finally:
            for permit in permits:
                permit.release()
        return Embeddings(
            engine.state.model,
            tuple(_unit(vector[:num_dimensions]) for vector in vectors),
            sum(map(len, prompts)),
        )

    def _reserve(self, inputs: Sequence[EmbeddingInput], owner: str) -> list[Permit]:
        # NOTE: before the first await and before any work; made as large as need be once the tokens are known.
        return self._admission.reserve_each((min(MAX_ESTIMATE, 4 * len(text)) for text in inputs[:MAX_LANES]), owner)

    async def _read(
        self, engine: EngineClient, prompts: Sequence[tuple[int, ...]], owner: str, num_lanes: int
    ) -> list[tuple[float, ...]]:
        name = f"embed-{next(self._numbers)}"

        async def vector(index: int, prompt: tuple[int, ...]) -> tuple[float, ...]:
            return (await pool_prompt(engine, f"{name}-{index}", prompt, Pooling("mean"), owner=owner)).vector

        work = (partial(vector, index, prompt) for index, prompt in enumerate(prompts))
        return await side_by_side(work, max_at_once=num_lanes)


def _vector_size(engine: EngineClient) -> int | None:
    """None while the model is being loaded: then the vectors themselves tell."""
    info = engine.state.info
    return info.n_embd if info is not None else None


def _encode(inputs: Sequence[EmbeddingInput], tokenizer: Tokenizer, n_positions: int) -> list[tuple[int, ...]]:
    prompts = []
    for index, text in enumerate(inputs):
        field = "input" if len(inputs) == 1 else f"input.{index}"
        ids = tuple(tokenizer.encode(text)) if isinstance(text, str) else text
        if not ids:
            raise InvalidInputError(f"{field} must not be empty.", field=field)
        if max(ids) >= tokenizer.vocab_size:
            raise InvalidInputError(
                f"{field} holds the token id {max(ids)}; this model's ids are 0 to {tokenizer.vocab_size - 1}.",
                field=field,
            )
        check_length(len(ids), n_positions, field)
        prompts.append(ids)
    return prompts


def _unit(vector: Sequence[float]) -> tuple[float, ...]:
    """Of length 1; zeros stay zeros."""
    length = math.sqrt(math.fsum(value * value for value in vector))
    return tuple(value / length for value in vector) if length else tuple(vector)
