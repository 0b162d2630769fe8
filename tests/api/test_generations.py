import asyncio
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
from fastapi import FastAPI

from gpt2svc.api.services import Services
from tests.api.conftest import new_conversation
from tests.fakes.engine import ScriptedEngine
from tests.fakes.running_app import running
from tests.fakes.sse import SseComment, SseEvent, parse_sse, read_sse, reply_text

NUM_VIEWERS_WHO_LEAVE = 200


async def finished_reply(client: httpx.AsyncClient) -> tuple[str, list[SseEvent]]:
    """A generation's id, and its events as an uncut stream shows them."""
    identifier = await new_conversation(client)
    body = {"content": "Hi", "stream": True}
    response = await client.post(f"/api/conversations/{identifier}/messages", json=body)
    return response.headers["location"].rsplit("/", 1)[-1], parse_sse(response.content)


async def started_reply(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> tuple[str, "asyncio.Task[httpx.Response]"]:
    """The id of a generation that the engine holds, and the request that began it."""
    identifier = await new_conversation(client)
    count = len(engine.requests) + 1
    post = asyncio.create_task(client.post(f"/api/conversations/{identifier}/messages", json={"content": "Hi"}))
    await engine.wait_for_requests(count)
    messages = (await client.get(f"/api/conversations/{identifier}/messages")).json()["data"]
    return messages[-1]["generation_id"], post


async def test_stream_cut_at_each_event_and_resumed_gives_the_same_text(
    live: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.say("Привіт 🙂 hello there")
    generation, events = await finished_reply(live)
    uncut = [event for event in events if event.id is not None]
    url = f"/api/generations/{generation}/events"
    for seen in range(len(uncut)):
        before = uncut[:seen]
        cursor = before[-1].id if before else "0"
        for request in (
            live.get(url, headers={"Last-Event-ID": str(cursor)}),
            live.get(url, params={"starting_after": str(cursor)}),
        ):
            after = [event for event in parse_sse((await request).content) if event.id is not None]
            assert before + after == uncut


async def test_live_stream_cut_at_each_event_and_resumed_gives_the_same_text(
    live: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.say("Їжак 🦔 ok")
    engine.pace_s = 0.02  # so that most of the reply is still to come at each cut
    generation, post = await started_reply(live, engine)
    url = f"/api/generations/{generation}/events"
    seen: list[SseEvent] = []
    while not seen or seen[-1].name != "done":
        headers = {"Last-Event-ID": seen[-1].id} if seen else {}
        async with live.stream("GET", url, headers=headers) as response:
            async for event in read_sse(response):
                if isinstance(event, SseEvent) and event.id is not None:
                    seen.append(event)
                    break  # leaves: the connection is cut after each event
    reply = (await post).json()
    assert [event.id for event in seen] == [str(n + 1) for n in range(len(seen))]
    assert reply_text(seen) == reply["content"] == "Їжак 🦔 ok"


async def test_viewer_who_has_seen_the_end_gets_204(client: httpx.AsyncClient) -> None:
    generation, events = await finished_reply(client)
    url = f"/api/generations/{generation}/events"
    response = await client.get(url, headers={"Last-Event-ID": str(events[-1].id)})
    assert (response.status_code, response.content) == (204, b"")


async def test_header_wins_over_query_and_an_empty_one_counts_as_none(client: httpx.AsyncClient) -> None:
    generation, _ = await finished_reply(client)
    url = f"/api/generations/{generation}/events?starting_after=2"
    by_header = parse_sse((await client.get(url, headers={"Last-Event-ID": "4"})).content)
    by_query = parse_sse((await client.get(url, headers={"Last-Event-ID": ""})).content)
    assert (by_header[0].id, by_query[0].id) == ("5", "3")


@pytest.mark.parametrize("cursor", ["-1", "x", "1.5", "٣", "99999999999", "1 "])
async def test_bad_cursors_are_422(client: httpx.AsyncClient, cursor: str) -> None:
    generation, _ = await finished_reply(client)
    url = f"/api/generations/{generation}/events"
    by_query = await client.get(url, params={"starting_after": cursor})
    if cursor != "1 ":  # HTTP itself takes white space off a header's ends
        by_header = await client.get(url, headers={"Last-Event-ID": cursor.encode()})  # type: ignore[dict-item]
        assert (by_header.status_code, by_header.json()["error"]["param"]) == (422, "Last-Event-ID")
        assert (by_query.status_code, by_query.json()["error"]["param"]) == (422, "starting_after")


async def test_generation_tells_what_the_reply_was_made_with(client: httpx.AsyncClient) -> None:
    identifier, events = await finished_reply(client)
    generation = (await client.get(f"/api/generations/{identifier}")).json()
    started = next(event for event in events if event.name == "started")
    assert generation["status"] == "completed"
    assert generation["seed"] == started.data["seed"] == generation["settings"]["seed"]
    assert generation["settings"] == started.data["settings"]
    assert generation["prompt_tokens"] == started.data["prompt_tokens"]
    assert generation["usage"] == events[-1].data["usage"]
    assert generation["timings"] == events[-1].data["timings"]
    assert generation["num_tokens"] == sum(event.name == "token" for event in events)


async def test_cancel_stops_the_reply_and_keeps_its_text(live: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.hold_at(4)
    generation, post = await started_reply(live, engine)
    cancelled = await live.post(f"/api/generations/{generation}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert engine.active == {}
    reply = (await post).json()
    assert (reply["status"], reply["finish_reason"]) == ("cancelled", "abort")
    assert "Hello there".startswith(reply["content"])
    again = await live.post(f"/api/generations/{generation}/cancel")
    assert (again.status_code, again.json()) == (200, cancelled.json())


async def test_cancelled_stream_ends_with_done(live: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.hold_at(2)
    generation, post = await started_reply(live, engine)
    watch = asyncio.create_task(live.get(f"/api/generations/{generation}/events"))
    await live.post(f"/api/generations/{generation}/cancel")
    events = parse_sse((await watch).content)
    assert (events[-1].name, events[-1].data["status"]) == ("done", "cancelled")
    await post


async def test_reply_goes_on_when_the_client_leaves(
    live: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.hold_at(2)
    identifier = await new_conversation(live)
    body = {"content": "Hi", "stream": True}
    async with live.stream("POST", f"/api/conversations/{identifier}/messages", json=body) as response:
        async for event in read_sse(response):
            if isinstance(event, SseEvent) and event.name == "token":
                break
        generation = response.headers["location"].rsplit("/", 1)[-1]
    engine.release()
    await services.generations.result(generation, "")
    reply = (await live.get(f"/api/conversations/{identifier}/messages")).json()["data"][-1]
    assert (reply["status"], reply["content"]) == ("completed", "Hello there")
    assert engine.aborted == []


async def test_viewers_who_leave_hold_no_task_and_no_connection(
    live: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.hold_at(1)
    generation, post = await started_reply(live, engine)
    url = f"/api/generations/{generation}/events"

    async def look_and_leave() -> None:
        async with live.stream("GET", url) as response:
            async for _ in read_sse(response):
                break

    await look_and_leave()  # the first stream starts the library's one watcher of this loop
    await _until(lambda: _num_requests_served() == 1)  # the POST, which waits for its reply
    before = len(asyncio.all_tasks())
    for _ in range(NUM_VIEWERS_WHO_LEAVE // 20):
        await asyncio.gather(*(look_and_leave() for _ in range(20)))
    await _until(lambda: _num_requests_served() == 1 and len(asyncio.all_tasks()) <= before)
    assert services.database.num_checked_out == 0
    engine.release()
    assert (await post).json()["content"] == "Hello there"
    await _until(lambda: services.database.num_checked_out == 0)


async def test_silent_stream_carries_pings_and_its_reader_is_not_cut_off(
    make_app: Callable[..., FastAPI], engine: ScriptedEngine
) -> None:
    async with running(make_app(sse_ping_s=0.05)) as url, httpx.AsyncClient(base_url=url, timeout=20) as client:
        engine.hold_at(1)
        generation, post = await started_reply(client, engine)
        seen: list[SseEvent | SseComment] = []
        async with client.stream("GET", f"/api/generations/{generation}/events") as response:
            async for item in read_sse(response):
                seen.append(item)
                if sum(isinstance(one, SseComment) for one in seen) == 3:
                    engine.release()
        assert SseComment("ping") in seen
        assert reply_text([event for event in seen if isinstance(event, SseEvent)]) == "Hello there"
        await post


def _num_requests_served() -> int:
    """The server has a task for each request that it is answering."""
    return sum("RequestResponseCycle" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def _until(condition: Callable[[], bool]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 (tasks that end give no sign)
                await asyncio.sleep(0.01)
    assert condition()
