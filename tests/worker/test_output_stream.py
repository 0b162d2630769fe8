import asyncio

import pytest

from gpt2svc.engine.types import TokenLogprobs, TokenOutput
from gpt2svc.worker.output_stream import OutputStream


async def test_outputs_come_one_by_one_to_a_reader_that_keeps_up() -> None:
    stream = OutputStream()
    reader = asyncio.create_task(stream.get())
    await asyncio.sleep(0)
    stream.put(TokenOutput("a", (1,)))
    assert await reader == TokenOutput("a", (1,))
    stream.put(TokenOutput("a", (2,), finish_reason="stop"))
    assert await stream.get() == TokenOutput("a", (2,), finish_reason="stop")


async def test_what_a_slow_reader_missed_is_merged_and_nothing_is_lost() -> None:
    stream = OutputStream()
    stream.put(TokenOutput("a", (1,), (TokenLogprobs(-1.0, ()),), num_cached_tokens=7))
    stream.put(TokenOutput("a", (2, 3), (TokenLogprobs(-2.0, ()), TokenLogprobs(-3.0, ()))))
    stream.put(TokenOutput("a", finish_reason="error", error="why"))
    merged = await stream.get()
    assert merged.token_ids == (1, 2, 3)
    assert merged.logprobs is not None
    assert [each.logprob for each in merged.logprobs] == [-1.0, -2.0, -3.0]
    assert (merged.finish_reason, merged.error, merged.num_cached_tokens) == ("error", "why", 7)


async def test_an_error_comes_after_what_was_there_before_it() -> None:
    stream = OutputStream()
    stream.put(TokenOutput("a", (1,)))
    stream.fail(ValueError("gone"))
    assert (await stream.get()).token_ids == (1,)
    with pytest.raises(ValueError, match="gone"):
        await stream.get()


async def test_a_cancelled_reader_loses_nothing() -> None:
    stream = OutputStream()
    reader = asyncio.create_task(stream.get())
    await asyncio.sleep(0)
    reader.cancel()
    stream.put(TokenOutput("a", (1,)))
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert (await stream.get()).token_ids == (1,)
