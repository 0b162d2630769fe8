"""Short-hands for tests of branches: a reply, and what can be asked for beside it."""

from typing import Any

import httpx

from tests.api.conftest import new_conversation


async def messages_of(client: httpx.AsyncClient, conversation: str) -> list[dict[str, Any]]:
    response = await client.get(f"/api/conversations/{conversation}/messages")
    return list(response.json()["data"])


async def replied(client: httpx.AsyncClient, content: str = "Hi", **fields: object) -> dict[str, Any]:
    conversation = await new_conversation(client)
    response = await client.post(f"/api/conversations/{conversation}/messages", json={"content": content, **fields})
    assert response.status_code == 201, response.text
    return dict(response.json())


def url_of(message: dict[str, Any], action: str) -> str:
    return f"/api/conversations/{message['conversation_id']}/messages/{message['id']}/{action}"
