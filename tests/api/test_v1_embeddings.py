"""/v1/embeddings by OpenAI's own client. That the vectors are transformers' is shown in tests/e2e/test_openai.py."""

import asyncio
import math
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gpt2svc.engine.types import EngineRequest, TokenOutput
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine
from tests.fakes.tokenizer import write_tokenizer_folder


class PoolingEngine(ScriptedEngine):
    """A text's vector: its length, the sum of its ids, and two constants."""

    async def _generate(self, request: EngineRequest) -> AsyncIterator[TokenOutput]:
        if request.pooling is None:
            async for output in super()._generate(request):
                yield output
            return
        ids = request.prompt_token_ids
        await asyncio.sleep(0.01 / len(ids))  # longer texts are done first
        while self._hold_at is not None:
            await self._wait_for_change()
        pooled = struct.pack("<4f", len(ids), sum(ids), 3.0, -4.0)
        yield TokenOutput(request.request_id, finish_reason="length", pooled=pooled)


@pytest.fixture
def engine(tmp_path: Path) -> ScriptedEngine:
    return PoolingEngine(Tokenizer.from_folder(write_tokenizer_folder(tmp_path / "tokenizer")))


def expected(ids: Any, size: int = 4) -> list[float]:
    raw = [len(ids), sum(ids), 3.0, -4.0][:size]
    return [value / math.sqrt(sum(each * each for each in raw)) for value in raw]


async def test_vectors_have_length_1_and_the_order_of_their_texts(sdk: Any, engine: ScriptedEngine) -> None:
    texts = ["Hello there, " * n for n in range(1, 20)]
    answer = await sdk.embeddings.create(model="tiny", input=texts)  # the client asks for base64 by itself
    assert [entry.index for entry in answer.data] == list(range(19))
    for text, entry in zip(texts, answer.data, strict=True):
        assert entry.embedding == pytest.approx(expected(engine.encode(text)), rel=1e-6)
    assert answer.model == "tiny"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(len(engine.encode(text)) for text in texts)
    floats = await sdk.embeddings.create(model="tiny", input=texts[0], encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(answer.data[0].embedding, rel=1e-6)


async def test_token_ids_alone_and_in_a_batch(sdk: Any) -> None:
    alone = await sdk.embeddings.create(model="tiny", input=[1, 2, 3])
    batch = await sdk.embeddings.create(model="tiny", input=[[1, 2, 3], [4]])
    assert len(alone.data) == 1
    assert [entry.embedding for entry in batch.data] == [alone.data[0].embedding, pytest.approx(expected([4]))]


async def test_fewer_dimensions_have_length_1_again(sdk: Any) -> None:
    answer = await sdk.embeddings.create(model="tiny", input=[1, 2, 3], dimensions=2)
    assert answer.data[0].embedding == pytest.approx(expected([1, 2, 3], 2), rel=1e-6)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["ok", ""]}, "input"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [[1], [100_000]]}, "input.1"),
        ({"input": ["ok", "long " * 2000]}, "input.1"),
        ({"input": "ok", "dimensions": 5}, "dimensions"),
        ({"input": "ok", "dimensions": 0}, "dimensions"),
        ({"input": "ok", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "ok", "temperature": 1}, "temperature"),
        ({}, "input"),
    ],
)
async def test_bad_input_is_refused_by_name(client: httpx.AsyncClient, fields: dict[str, Any], param: str) -> None:
    response = await client.post("/v1/embeddings", json=fields)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"].startswith(param)
    assert error["code"] == ("context_length_exceeded" if "long" in str(fields) else error["code"])


async def test_errors_are_the_clients_exceptions_and_places_come_back(
    sdk: Any, services: Any, engine: ScriptedEngine
) -> None:
    with pytest.raises(openai.NotFoundError):
        await sdk.embeddings.create(model="gpt-9", input="Hi")
    engine.fail("out of memory")
    with pytest.raises(openai.InternalServerError):
        await sdk.embeddings.create(model="tiny", input="Hi")
    assert services.admission.num_requests == 0


async def test_a_client_that_leaves_stops_the_work(sdk: Any, services: Any, engine: ScriptedEngine) -> None:
    engine.hold_at(0)
    asking = asyncio.ensure_future(sdk.embeddings.create(model="tiny", input=["Hi"] * 20))
    await engine.wait_for_requests(8)
    assert services.admission.num_requests == 8
    asking.cancel()
    await engine.wait_until_idle()
    await until(lambda: services.admission.num_requests == 0)
    assert len(engine.requests) == 8
