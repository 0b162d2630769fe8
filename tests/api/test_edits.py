"""A reply in its reader's own words."""

import httpx

from tests.api.branches import messages_of, replied, url_of
from tests.fakes.engine import ScriptedEngine


async def test_edited_reply_is_complete_and_can_be_continued(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    first = await replied(client)
    edited = await client.post(url_of(first, "edit"), json={"content": "My own\nUser: words"})
    assert edited.status_code == 201
    message = edited.json()
    assert (message["role"], message["status"], message["generation_id"]) == ("assistant", "completed", None)
    assert message["parent_id"] == first["parent_id"]
    engine.say(", and more")
    whole = (await client.post(url_of(message, "continue"))).json()
    assert whole["content"] == "My own\nUser: words, and more"
    assert (await messages_of(client, first["conversation_id"]))[1]["content"] == first["content"]


async def test_edit_with_the_same_key_is_one_edit(client: httpx.AsyncClient) -> None:
    first = await replied(client)
    headers = {"Idempotency-Key": "edit-1"}
    one = await client.post(url_of(first, "edit"), json={"content": "x"}, headers=headers)
    two = await client.post(url_of(first, "edit"), json={"content": "x"}, headers=headers)
    assert (one.status_code, two.status_code, two.headers["idempotent-replayed"]) == (201, 200, "true")
    assert one.json() == two.json()
    assert len(await messages_of(client, first["conversation_id"])) == 3
    other = await client.post(url_of(first, "edit"), json={"content": "y"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
