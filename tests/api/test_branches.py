"""Other versions of a reply: made again, continued, edited; and messages that begin a branch."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI

from tests.api.branches import messages_of, replied, url_of
from tests.api.conftest import client_of, new_conversation
from tests.fakes.engine import ScriptedEngine
from tests.fakes.sse import parse_sse, reply_text
from tests.fakes.tokenizer import TINY_EOS_ID

"""Other versions of a reply: made again, continued, edited; and messages that begin a branch."""


async def test_regenerated_reply_is_a_sibling_whichever_message_is_named(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    first = await replied(client)
    engine.say(" hello")
    second = await client.post(url_of(first, "regenerate"), json={"settings": {"temperature": 0}})
    assert second.status_code == 201
    body = second.json()
    assert (body["parent_id"], body["content"]) == (first["parent_id"], "hello")
    assert body["settings"]["temperature"] == 0
    third = await client.post(url_of({**first, "id": first["parent_id"]}, "regenerate"))  # without a body
    assert third.json()["parent_id"] == first["parent_id"]
    assert [request.prompt_token_ids for request in engine.requests[1:]] == [engine.requests[0].prompt_token_ids] * 2
    messages = await messages_of(client, first["conversation_id"])
    assert [message["role"] for message in messages] == ["user", "assistant", "assistant", "assistant"]
    # The next message follows the newest one.
    url = f"/api/conversations/{first['conversation_id']}/messages"
    reply = (await client.post(url, json={"content": "And?"})).json()
    messages = {message["id"]: message for message in await messages_of(client, first["conversation_id"])}
    assert messages[reply["parent_id"]]["parent_id"] == third.json()["id"]


async def test_regeneration_streams_and_replays_by_its_key(client: httpx.AsyncClient) -> None:
    first = await replied(client)
    headers = {"Idempotency-Key": "again"}
    url = url_of(first, "regenerate")
    streamed = await client.post(url, json={"stream": True}, headers=headers)
    events = parse_sse(streamed.content)
    assert [events[0].name, events[-1].name] == ["queued", "done"]
    assert events[0].data["user_message_id"] == first["parent_id"]
    assert "prefix_text" not in events[0].data
    again = await client.post(url, json={}, headers=headers)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json()["id"] == events[0].data["message_id"]
    assert len(await messages_of(client, first["conversation_id"])) == 3
    other = await client.post(url_of(first, "continue"), json={}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")


async def test_branch_while_a_reply_is_active_is_refused(live: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    first = await replied(live)
    engine.hold_at(1)
    again = asyncio.create_task(live.post(url_of(first, "regenerate")))
    await engine.wait_for_requests(2)
    for action, body in (("regenerate", {}), ("continue", {}), ("edit", {"content": "x"})):
        refused = await live.post(url_of(first, action), json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conversation_busy"), action
    engine.release()
    assert (await again).status_code == 201
    assert len(await messages_of(live, first["conversation_id"])) == 3


async def test_overload_refuses_a_branch_and_writes_nothing(
    make_app: Callable[..., FastAPI], engine: ScriptedEngine
) -> None:
    app = make_app(max_num_seqs=1, max_queued_requests=0)
    async with app.router.lifespan_context(app), client_of(app) as client:
        first = await replied(client)
        engine.hold_at(0)
        elsewhere = await new_conversation(client)
        other = asyncio.create_task(client.post(f"/api/conversations/{elsewhere}/messages", json={"content": "Hi"}))
        await engine.wait_for_requests(2)
        for action in ("regenerate", "continue"):
            refused = await client.post(url_of(first, action))
            assert refused.status_code == 429
            assert "retry-after" in refused.headers
        assert len(await messages_of(client, first["conversation_id"])) == 2
        engine.release()
        await other


async def test_length_limited_reply_goes_on_to_the_text_it_would_have_had(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    whole = "Привіт, hello the world, як справи?\nUser: no"
    engine.say(" " + whole)
    uncut = await replied(client, settings={"seed": 5, "max_new_tokens": 80})
    cut = await replied(client, settings={"seed": 5, "max_new_tokens": 4})
    assert (cut["finish_reason"], cut["content"]) != ("stop", uncut["content"])
    num_kept = cut["usage"]["completion_tokens"]
    engine.say(engine.encode(" " + whole)[num_kept:])
    response = await client.post(url_of(cut, "continue"), json={"settings": {"max_new_tokens": 76}, "stream": True})
    events = parse_sse(response.content)
    assert events[0].data["prefix_text"] + reply_text(events) == uncut["content"]
    assert next(event.id for event in events if event.name == "token") == "1"
    request = engine.requests[-1]
    assert request.prompt_token_ids == engine.requests[0].prompt_token_ids + engine.encode(" " + whole)[:num_kept]
    assert (request.num_reply_tokens, request.params) == (num_kept, engine.requests[0].params)
    stored = (await messages_of(client, cut["conversation_id"]))[-1]
    assert (stored["content"], stored["parent_id"]) == (uncut["content"], cut["parent_id"])
    assert stored["usage"] == uncut["usage"]
    # Watched again from its rows, it is the same.
    again = await client.get(f"/api/generations/{stored['generation_id']}/events")
    assert parse_sse(again.content)[0].data["prefix_text"] == events[0].data["prefix_text"]
    assert reply_text(parse_sse(again.content)) == reply_text(events)


async def test_continuation_adds_what_the_conversation_allows_unless_told(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    conversation = await new_conversation(client, settings={"max_new_tokens": 6, "seed": 1})
    engine.say("abcdefghijklmnopqrstuvwxyz")
    first = (await client.post(f"/api/conversations/{conversation}/messages", json={"content": "Hi"})).json()
    engine.say("ghijklmnopqrstuvwxyz")
    second = (await client.post(url_of(first, "continue"))).json()
    assert (second["content"], second["settings"]["max_new_tokens"]) == ("abcdefghijkl", 12)
    engine.say("mnopqrstuvwxyz")
    third = (await client.post(url_of(second, "continue"), json={"settings": {"max_length": 2}})).json()
    assert third["content"] == "abcdefghijklmn"
    assert engine.requests[-1].num_reply_tokens == 12


async def test_reply_goes_on_from_an_earlier_place_by_another_token(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.say(" Привіт, hello the world")
    first = await replied(client, settings={"seed": 5, "max_new_tokens": 60})
    own = engine.encode(" Привіт, hello the world")
    (other,) = engine.encode("!")
    body = {"num_reply_tokens": 8, "next_token_id": other, "settings": {"temperature": 0.5}}
    engine.say(" and on")
    response = await client.post(url_of(first, "continue"), json={**body, "stream": True})
    events = parse_sse(response.content)
    request = engine.requests[-1]
    assert request.prompt_token_ids == engine.requests[0].prompt_token_ids + own[:8] + (other,)
    assert (request.num_reply_tokens, request.params.seed, request.params.temperature) == (9, 5, 0.5)
    assert request.params.max_new_tokens == 60  # the length that the whole was to have
    branch = (await messages_of(client, first["conversation_id"]))[-1]
    assert branch["content"] == engine.decode((*own[:8], other)).removeprefix(" ") + " and on"
    assert branch["content"] == events[0].data["prefix_text"] + reply_text(events)
    assert branch["parent_id"] == first["parent_id"]
    # The place may lie inside a character: what the token makes of it is shown once that is known.
    engine.say(engine.encode(" П")[-1:] + engine.encode("x"))
    inside = (await client.post(url_of(first, "continue"), json={"num_reply_tokens": 2})).json()
    assert inside["content"] == "Пx"
    # A branch of a branch, and one of a text that nobody sampled.
    engine.say(" more")
    second = (await client.post(url_of(branch, "continue"), json={"num_reply_tokens": 9})).json()
    assert second["content"] == engine.decode((*own[:8], other)).removeprefix(" ") + " more"
    edited = (await client.post(url_of(first, "edit"), json={"content": "My words"})).json()
    engine.say(" here")
    third = (await client.post(url_of(edited, "continue"), json={"num_reply_tokens": 3, "next_token_id": other})).json()
    assert third["content"] == "My! here"


async def test_branch_from_a_token_is_one_branch_for_one_key(client: httpx.AsyncClient) -> None:
    first = await replied(client)
    headers = {"Idempotency-Key": "branch-1"}
    body = {"num_reply_tokens": 1}
    one = await client.post(url_of(first, "continue"), json=body, headers=headers)
    two = await client.post(url_of(first, "continue"), json=body, headers=headers)
    assert (one.status_code, two.status_code, one.json()["id"]) == (201, 200, two.json()["id"])
    for other in ({}, {"num_reply_tokens": 2}, {**body, "next_token_id": 0}):
        refused = await client.post(url_of(first, "continue"), json=other, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "idempotency_mismatch"), other


async def test_place_or_token_that_nothing_can_follow_is_refused(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.say(" a\nUse it")
    first = await replied(client)
    num_tokens = len(engine.encode(" a\nUse it"))
    (end_of_label,) = engine.encode("r")
    for body, param in (
        ({"num_reply_tokens": num_tokens + 1}, "num_reply_tokens"),
        ({"num_reply_tokens": 0}, "num_reply_tokens"),
        ({"num_reply_tokens": -1}, "num_reply_tokens"),
        ({"num_reply_tokens": "1"}, "num_reply_tokens"),
        ({"next_token_id": TINY_EOS_ID}, "next_token_id"),
        ({"next_token_id": 9_999}, "next_token_id"),
        ({"next_token_id": 10_000_001}, "next_token_id"),
        ({"num_reply_tokens": 2, "settings": {"stop": ["a"]}}, "num_reply_tokens"),
        ({"num_reply_tokens": 4, "next_token_id": end_of_label, "settings": {"stop": ["User"]}}, "next_token_id"),
    ):
        refused = await client.post(url_of(first, "continue"), json=body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, param), (body, refused.text)
    assert len(await messages_of(client, first["conversation_id"])) == 2


async def test_reply_that_ended_itself_gets_another_draw_and_at_least_one_token(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    first = await replied(client, settings={"seed": 9})
    assert first["finish_reason"] == "stop"
    engine.say(" the end")
    second = (await client.post(url_of(first, "continue"))).json()
    assert second["content"] == "Hello there the end"
    params = engine.requests[-1].params
    assert params.min_new_tokens == engine.requests[-1].num_reply_tokens + 1
    assert second["settings"]["seed"] != 9
    kept = (await client.post(url_of(first, "continue"), json={"settings": {"seed": 9}})).json()
    assert kept["settings"]["seed"] == 9


async def test_wrong_message_is_named(client: httpx.AsyncClient) -> None:
    first = await replied(client)
    question = {**first, "id": first["parent_id"]}
    for action, message in (("continue", question), ("edit", question)):
        refused = await client.post(url_of(message, action), json={"content": "x"} if action == "edit" else {})
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, "message_id"), action
    elsewhere = await replied(client)
    for action in ("regenerate", "continue", "edit"):
        url = url_of({**first, "id": elsewhere["id"]}, action)
        missing = await client.post(url, json={"content": "x"} if action == "edit" else {})
        assert missing.status_code == 404, action
        assert missing.json()["error"]["param"] == "message_id"
    for body in ({"settings": {"top_p": 2}}, {"content": "x"}, {"stream": 1}):
        assert (await client.post(url_of(first, "regenerate"), json=body)).status_code == 422
    assert len(await messages_of(client, first["conversation_id"])) == 2


async def test_null_parent_begins_a_branch_and_none_follows_the_newest(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    first = await replied(client, "One")
    url = f"/api/conversations/{first['conversation_id']}/messages"
    root = (await client.post(url, json={"content": "Two", "parent_id": None})).json()
    assert engine.decode(engine.requests[-1].prompt_token_ids) == "User: Two\nAssistant:"
    following = (await client.post(url, json={"content": "Three"})).json()
    by_id = {message["id"]: message for message in await messages_of(client, first["conversation_id"])}
    assert by_id[root["parent_id"]]["parent_id"] is None
    assert by_id[following["parent_id"]]["parent_id"] == root["id"]
    # The same words with and without the null are two requests.
    headers = {"Idempotency-Key": "k"}
    assert (await client.post(url, json={"content": "x", "parent_id": None}, headers=headers)).status_code == 201
    assert (await client.post(url, json={"content": "x"}, headers=headers)).status_code == 422


@pytest.mark.parametrize("settings", [{}, {"max_new_tokens": 5}])
async def test_reply_without_room_says_so(
    make_app: Callable[..., FastAPI], engine: ScriptedEngine, settings: dict[str, int]
) -> None:
    app = make_app(prompt_max_tokens=512)
    async with app.router.lifespan_context(app), client_of(app) as client:
        engine.say("x" * 300)
        first = await replied(client, settings={"max_new_tokens": 230})
        room = engine.n_positions - len(engine.requests[0].prompt_token_ids) - 230
        assert 0 < room < 20
        more = await client.post(url_of(first, "continue"), json={"settings": settings})
        added = more.json()["usage"]["completion_tokens"] - 230
        assert added == min(room, settings.get("max_new_tokens", room))
        full = await client.post(url_of(more.json(), "continue"), json={"settings": {"max_new_tokens": room}})
        if full.status_code == 201:
            full = await client.post(url_of(full.json(), "continue"))
        assert (full.status_code, full.json()["error"]["code"]) == (422, "context_length_exceeded")
        assert full.json()["error"]["param"] == "message_id"
