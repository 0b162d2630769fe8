import pytest

from gpt2svc.engine.types import TokenOutput
from gpt2svc.errors import EngineError
from gpt2svc.worker.request_table import RequestTable
from tests.worker.messages import request


async def test_requests_are_taken_in_order_and_once() -> None:
    table = RequestTable()
    for request_id in "cab":
        table.add(request(request_id))
    assert (table.num_waiting, table.num_running) == (3, 0)
    assert [each.request_id for each in table.take_waiting()] == ["c", "a", "b"]
    assert table.take_waiting() == []
    assert (table.num_waiting, table.num_running) == (0, 3)


async def test_an_id_in_use_is_refused_and_free_again_after_its_end() -> None:
    table = RequestTable()
    stream = table.add(request("a"))
    with pytest.raises(EngineError, match="already"):
        table.add(request("a"))
    table.take_waiting()
    table.deliver([TokenOutput("a", (1,), finish_reason="stop")])
    assert (await stream.get()).finish_reason == "stop"
    table.add(request("a"))


async def test_a_waiting_request_is_aborted_without_the_worker() -> None:
    table = RequestTable()
    stream = table.add(request("a"))
    assert table.abort("a") is False
    assert (await stream.get()).finish_reason == "abort"
    assert table.take_waiting() == []


async def test_a_running_request_is_aborted_by_the_worker() -> None:
    table = RequestTable()
    table.add(request("a"))
    table.take_waiting()
    assert table.abort("a") is True
    assert table.abort("unknown") is False
    assert len(table) == 1  # until the worker has said so


async def test_a_crash_ends_what_was_running_and_keeps_what_waited() -> None:
    table = RequestTable()
    running = table.add(request("a"))
    table.take_waiting()
    table.add(request("b"))
    table.fail_running(lambda: EngineError("crashed"))
    with pytest.raises(EngineError, match="crashed"):
        await running.get()
    assert [each.request_id for each in table.take_waiting()] == ["b"]


async def test_late_outputs_of_a_request_that_was_left_are_dropped() -> None:
    table = RequestTable()
    table.add(request("a"))
    table.take_waiting()
    assert table.leave("a") is True
    table.deliver([TokenOutput("a", (1,))])
    assert len(table) == 0
    assert table.leave("a") is False
