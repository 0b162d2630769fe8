"""Export and import over HTTP: what goes out comes back equal, and nothing bad gets in."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gpt2svc.api.services import Services
from tests.api.conftest import client_of, new_conversation
from tests.fakes.engine import ScriptedEngine


async def talk(client: httpx.AsyncClient, *contents: str, **fields: object) -> str:
    conversation = await new_conversation(client, **fields)
    for content in contents:
        response = await client.post(f"/api/conversations/{conversation}/messages", json={"content": content})
        assert response.status_code == 201, response.text
    return conversation


async def everything(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    listed = (await client.get("/api/conversations", params={"limit": "100"})).json()["data"]
    for conversation in listed:
        url = f"/api/conversations/{conversation['id']}/messages"
        messages = (await client.get(url)).json()["data"]
        for message in messages:
            del message["generation_id"]  # a file holds no token logs
        conversation["messages"] = messages
    return list(listed)


async def wipe(client: httpx.AsyncClient) -> None:
    for conversation in (await client.get("/api/conversations", params={"limit": "100"})).json()["data"]:
        assert (await client.delete(f"/api/conversations/{conversation['id']}")).status_code == 204


async def imported(client: httpx.AsyncClient, body: bytes | str, **params: str) -> dict[str, Any]:
    response = await client.post("/api/import", content=body, params=params)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_export_wipe_import_gives_equal_conversations(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    first = await talk(
        client, "Hi", "Як справи? <script>&amp; \u2028 👍🏽", title="Потяги", settings={"temperature": 0.3}
    )
    reply = (await client.get(f"/api/conversations/{first}/messages")).json()["data"][1]
    assert (await client.post(f"/api/conversations/{first}/messages/{reply['id']}/regenerate")).status_code == 201
    edit = f"/api/conversations/{first}/messages/{reply['id']}/edit"
    assert (await client.post(edit, json={"content": "--- User\n=== x\n\\"})).status_code == 201
    await talk(client, "Another")
    await talk(client)  # without a message
    before = await everything(client)
    response = await client.get("/api/export")
    assert response.headers["content-type"] == "application/json"
    assert 'filename="gpt2svc-conversations.json"' in response.headers["content-disposition"]
    json.loads(response.content)

    again = await imported(client, response.content)
    assert (again["num_imported"], again["num_duplicates"], again["num_invalid"]) == (0, 3, 0)
    await wipe(client)
    dry = await imported(client, response.content, dry_run="true")
    assert (dry["num_imported"], dry["dry_run"]) == (3, True)
    assert await everything(client) == []
    back = await imported(client, response.content)
    assert (back["num_imported"], back["num_duplicates"], back["num_invalid"]) == (3, 0, 0)
    assert await everything(client) == before
    # And the conversations go on.
    assert (await client.post(f"/api/conversations/{first}/messages", json={"content": "Next"})).status_code == 201


async def test_text_holds_the_newest_path_and_comes_back(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.say("--- Assistant\n\n\\=== not a title")
    first = await talk(client, "Hi\nthere", title="My talk")
    messages = (await client.get(f"/api/conversations/{first}/messages")).json()["data"]
    engine.say(" hello")
    await client.post(f"/api/conversations/{first}/messages/{messages[0]['id']}/regenerate")
    body = {"content": "Bye", "parent_id": messages[1]["id"]}
    await client.post(f"/api/conversations/{first}/messages", json=body)
    response = await client.get("/api/export", params={"format": "txt", "conversation_id": first})
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert f'filename="gpt2svc-{first}.txt"' in response.headers["content-disposition"]
    text = response.text
    assert "=== My talk\n--- User\nHi\nthere\n\n--- Assistant\n\\--- Assistant\n" in text
    await wipe(client)
    report = await imported(client, text)
    assert report["num_imported"] == 1
    [conversation] = await everything(client)
    assert conversation["title"] == "My talk"
    contents = [(message["role"], message["content"]) for message in conversation["messages"]]
    assert contents == [
        ("user", "Hi\nthere"),
        ("assistant", messages[1]["content"]),
        ("user", "Bye"),
        ("assistant", "hello"),
    ]
    assert (await imported(client, text))["num_duplicates"] == 1


async def test_one_bad_conversation_does_not_sink_the_file(client: httpx.AsyncClient) -> None:
    good = {"title": "Good", "messages": [{"id": "1", "role": "user", "content": "Hi"}]}
    bad = {"title": "Bad", "messages": [{"id": "1", "role": "user", "content": "a\x00"}]}
    file = {"format": "gpt2svc-conversations", "version": 1, "conversations": [bad, good, good, 7]}
    report = await imported(client, json.dumps(file))
    assert [result["status"] for result in report["conversations"]] == ["invalid", "imported", "duplicate", "invalid"]
    assert "NUL" in report["conversations"][0]["reason"]
    assert "messages[0]" in report["conversations"][0]["reason"]
    assert report["conversations"][2]["conversation_id"] == report["conversations"][1]["conversation_id"]
    assert [conversation["title"] for conversation in await everything(client)] == ["Good"]


async def test_taken_ids_are_replaced_and_nothing_is_overwritten(client: httpx.AsyncClient) -> None:
    first = await talk(client, "One")
    exported = (await client.get("/api/export")).json()
    await client.post(f"/api/conversations/{first}/messages", json={"content": "Two"})
    before = await everything(client)
    older = await imported(client, json.dumps(exported))
    assert older["conversations"][0]["status"] == "duplicate"  # it has only gone on since
    exported["conversations"][0]["messages"][0]["content"] = "Other words"
    exported["conversations"][0]["messages"][0]["id"] = "msg_" + "0" * 26
    exported["conversations"][0]["messages"][1]["parent_id"] = "msg_" + "0" * 26
    other = await imported(client, json.dumps(exported))
    assert other["conversations"][0]["status"] == "imported"
    assert other["conversations"][0]["conversation_id"] != first
    after = {conversation["id"]: conversation for conversation in await everything(client)}
    assert after[first] == before[0]
    assert len(after) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"{",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"format": "gpt2svc-conversations", "version": 9, "conversations": []}',
        b'{"format": "gpt2svc-conversations", "version": 1, "conversations": [{"messages": []}, oops]}',
    ],
)
async def test_file_that_cannot_be_read_changes_nothing(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/api/import", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["error"]["param"]) == (422, "body")
    assert await everything(client) == []


async def test_file_has_a_limit_of_its_own(make_app: Callable[..., FastAPI]) -> None:
    app = make_app(max_body_bytes=2048, max_import_bytes=8192)
    messages = [{"id": "1", "role": "user", "content": "x" * 5000}]
    file = {"format": "gpt2svc-conversations", "version": 1, "conversations": [{"messages": messages}]}
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert (await imported(client, json.dumps(file)))["num_imported"] == 1
        messages[0]["content"] = "y" * 9000
        refused = await client.post("/api/import", content=json.dumps(file))
        assert refused.status_code == 413
        assert "max_import_bytes" in refused.json()["error"]["message"]
        refused = await client.post("/api/conversations", json={"title": "z" * 5000})
        assert refused.status_code == 413


async def test_export_of_what_is_not_there_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/export", params={"conversation_id": "conv_" + "0" * 26})
    assert response.status_code == 404
    assert (await client.get("/api/export", params={"format": "pdf"})).status_code == 422
    empty = await client.get("/api/export")
    assert empty.json()["conversations"] == []


async def test_another_import_meanwhile_is_told_to_wait(client: httpx.AsyncClient) -> None:
    body = b"# gpt2svc conversations 1\n"
    responses = await asyncio.gather(*(client.post("/api/import", content=body) for _ in range(2)))
    assert sorted(response.status_code for response in responses) == [200, 429]
    refused = next(response for response in responses if response.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 5
    assert "x-ratelimit-limit-requests" not in refused.headers  # it is not for load
    assert (await client.post("/api/import", content=body)).status_code == 200


async def test_large_export_comes_in_pieces(client: httpx.AsyncClient, services: Services) -> None:
    messages = [{"id": str(i), "parent_id": str(i - 1) if i else None, "role": "user", "content": f"{i} " + "x" * 900}
                for i in range(1000)]  # fmt: skip
    file = {"format": "gpt2svc-conversations", "version": 1, "conversations": [{"messages": messages}]}
    assert (await imported(client, json.dumps(file)))["num_imported"] == 1
    ids = await services.exports.prepare("")
    chunks: AsyncIterator[str] = services.exports.chunks("", ids, "json")
    sizes = [len(chunk) async for chunk in chunks]
    assert max(sizes) < 400_000 < sum(sizes)
