from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import httpx
import pytest
from fastapi import FastAPI

from gpt2svc.api.services import Services
from gpt2svc.chat.conversations import ConversationService
from gpt2svc.errors import StorageFullError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.unit_of_work import UnitOfWork
from tests.api.conftest import new_conversation


async def test_created_conversation_is_read_back_the_same(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/conversations", json={"title": "Потяги", "settings": {"top_k": 7}})
    assert created.status_code == 201
    conversation = created.json()
    assert created.headers["location"] == f"/api/conversations/{conversation['id']}"
    assert (conversation["title"], conversation["model"], conversation["num_messages"]) == ("Потяги", None, 0)
    assert (conversation["settings"]["top_k"], conversation["settings"]["top_p"]) == (7, 0.9)
    read = await client.get(created.headers["location"])
    assert read.status_code == 200
    assert read.json() == conversation


async def test_patch_changes_what_is_given_and_null_puts_the_default_back(client: httpx.AsyncClient) -> None:
    identifier = await new_conversation(client, title="A", settings={"top_k": 7, "top_p": 0.5})
    changed = await client.patch(f"/api/conversations/{identifier}", json={"settings": {"top_k": None, "seed": 3}})
    assert changed.status_code == 200
    assert changed.json()["title"] == "A"
    settings = changed.json()["settings"]
    assert (settings["top_k"], settings["top_p"], settings["seed"]) == (50, 0.5, 3)
    renamed = await client.patch(f"/api/conversations/{identifier}", json={"title": "B"})
    assert (renamed.json()["title"], renamed.json()["settings"]) == ("B", settings)
    cleared = await client.patch(f"/api/conversations/{identifier}", json={"title": None, "settings": None})
    assert (cleared.json()["title"], cleared.json()["settings"]["top_p"]) == (None, 0.9)


async def test_deleted_conversation_is_gone_with_its_messages(client: httpx.AsyncClient) -> None:
    identifier = await new_conversation(client)
    await client.post(f"/api/conversations/{identifier}/messages", json={"content": "Hi"})
    deleted = await client.delete(f"/api/conversations/{identifier}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in (f"/api/conversations/{identifier}", f"/api/conversations/{identifier}/messages"):
        assert (await client.get(path)).status_code == 404
    assert (await client.delete(f"/api/conversations/{identifier}")).status_code == 404


async def test_paging_brings_each_conversation_once_latest_first(client: httpx.AsyncClient) -> None:
    created = [await new_conversation(client, title=f"number {i}") for i in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    sizes = []
    while True:
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/conversations", params=query)).json()
        seen += [conversation["id"] for conversation in page["data"]]
        sizes.append(len(page["data"]))
        cursor = page["next_cursor"]
        assert page["has_more"] is (cursor is not None)
        if cursor is None:
            break
    assert seen == created[::-1]
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("%", ["100% sure"]),
        ("_", ["snake_case"]),
        ("\\", ["back\\slash"]),
        ("ПОЇЗД", ["Київський поїзд"]),
        ("київ", ["Київський поїзд"]),
        ("SURE", ["100% sure"]),
        ("nothing like it", []),
    ],
)
async def test_search_takes_characters_literally_and_ignores_case(
    client: httpx.AsyncClient, search: str, found: list[str]
) -> None:
    for title in ("100% sure", "snake_case", "back\\slash", "Київський поїзд"):
        await new_conversation(client, title=title)
    response = await client.get("/api/conversations", params={"search": search})
    assert [conversation["title"] for conversation in response.json()["data"]] == found


async def test_search_finds_what_was_said(client: httpx.AsyncClient) -> None:
    identifier = await new_conversation(client, title="A")
    await new_conversation(client, title="B")
    await client.post(f"/api/conversations/{identifier}/messages", json={"content": "Де Їжачок?"})
    response = await client.get("/api/conversations", params={"search": "їжачок"})
    assert [conversation["id"] for conversation in response.json()["data"]] == [identifier]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"cursor": "made-up"}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"search": "x" * 201}, "search"),
        ({"search": "a\x00"}, "search"),
        ({"limt": "3"}, "limt"),
    ],
)
async def test_wrong_query_is_refused_by_name(client: httpx.AsyncClient, query: dict[str, str], param: str) -> None:
    response = await client.get("/api/conversations", params=query)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == param


async def test_unknown_model_is_refused_and_nothing_is_created(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/conversations", json={"model": "no-such"})
    assert response.status_code == 404
    assert response.json()["error"]["param"] == "model_id"
    assert (await client.get("/api/conversations")).json()["data"] == []


@pytest.mark.parametrize(
    "identifier", ["conv_nope", "x", "%00", "..%2f..", "conv_" + "0" * 26, "a" * 3000, "%ff", "їжак"]
)
async def test_unknown_ids_are_404_everywhere(client: httpx.AsyncClient, identifier: str) -> None:
    for method, path in (
        ("GET", f"/api/conversations/{identifier}"),
        ("PATCH", f"/api/conversations/{identifier}"),
        ("DELETE", f"/api/conversations/{identifier}"),
        ("GET", f"/api/conversations/{identifier}/messages"),
        ("POST", f"/api/conversations/{identifier}/messages"),
        ("GET", f"/api/generations/{identifier}"),
        ("GET", f"/api/generations/{identifier}/events"),
        ("POST", f"/api/generations/{identifier}/cancel"),
    ):
        body = {"POST": {"content": "Hi"}, "PATCH": {"title": "A"}}.get(method)
        response = await client.request(method, path, json=body)
        assert response.status_code == 404, (method, path)
        assert response.json()["error"]["code"] == "not_found"
        assert len(response.content) < 600


T = TypeVar("T")


class FullDatabase(Database):
    """One whose disk has no room for another page."""

    async def write(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        raise StorageFullError("The disk is full: nothing was stored.")


async def test_full_disk_is_507_and_nothing_is_created(
    client: httpx.AsyncClient, app: FastAPI, services: Services
) -> None:
    full = FullDatabase(services.database.path)
    conversations = ConversationService(full, services.engines, services.generations)
    app.state.services = replace(services, conversations=conversations)
    response = await client.post("/api/conversations", json={})
    assert (response.status_code, response.json()["error"]["code"]) == (507, "storage_full")
    app.state.services = services
    assert (await client.get("/api/conversations")).json()["data"] == []
