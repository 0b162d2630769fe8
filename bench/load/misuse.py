"""What nobody should ask: wrong requests, too many at once, half of one; and keys that come and go."""

import asyncio
from pathlib import Path

from bench.load.asker import Asker
from bench.load.conversations import REPLY, Conversations
from gpt2svc.api.key_ring import MAX_AGE_S
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.key_secret import new_secret, secret_digest

TOO_LONG = 1_100_000  # more than the default of max_body_bytes


class Misuse:
    def __init__(self, asker: Asker, conversations: Conversations, database_path: Path) -> None:
        """Keys are created and revoked in the database beside the service, as `gpt2svc keys` does it."""
        self._asker = asker
        self._ask = asker.ask
        self._be_refused = asker.be_refused
        self._conversations = conversations
        self._database_path = database_path
        self.actions = [self._ask_wrongly]
        self.rare_actions = [self._ask_too_much, self._break_off, self._own_key]

    async def _ask_wrongly(self) -> None:
        conversation = await self._conversations.new()
        messages = f"/api/conversations/{conversation}/messages"
        is_json = {"Content-Type": "application/json"}
        await self._be_refused("POST", messages, 422, json={"content": ""})
        await self._be_refused("POST", messages, 400, content=b'{"content": "no end', headers=is_json)
        await self._be_refused("POST", messages, 413, content=b" " * TOO_LONG, headers=is_json)
        await self._be_refused("POST", "/v1/completions", 400, json={"prompt": "x", "temperatur": 1})
        await self._be_refused("POST", "/v1/completions", 404, json={"prompt": "x", "model": "no-such-model"})
        await self._be_refused("POST", "/v1/responses", 404, json={"input": "x", "previous_response_id": "resp_none"})
        await self._be_refused("GET", "/api/conversations/conv_none", 404)
        await self._be_refused("GET", f"/no/such/{self._asker.random.getrandbits(64)}/page", 404)
        await self._be_refused("GET", "/api/conversations", 401, headers=_bearer(new_secret()))

    async def _ask_too_much(self) -> None:
        body = {"prompt": "Once upon a time", "max_tokens": 5}
        await asyncio.gather(*(self._ask("POST", "/v1/completions", json=body) for _ in range(20)))

    async def _break_off(self) -> None:
        """Half a request, and away; and a request whose answer nobody reads."""
        url = self._asker.client.base_url
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nContent-Length: 100\r\n\r\n"
        for sent in (head[:20], head, f"GET /api/models HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n\r\n"):
            _, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(sent.encode())
            await writer.drain()
            await asyncio.sleep(self._asker.random.uniform(0.0, 0.2))
            writer.transport.abort()
            self._asker.answers.counts["broken off"] += 1

    async def _own_key(self) -> None:
        """And a conversation that is nobody else's."""
        secret = new_secret()
        headers = _bearer(secret)
        database = Database(self._database_path, num_readers=1)
        await database.open_beside()
        try:
            key = await database.write(
                lambda uow: uow.api_keys.create(name="soak", scopes=["chat"], secret_hash=secret_digest(secret))
            )
            await asyncio.sleep(2 * MAX_AGE_S)
            made = await self._ask("POST", "/api/conversations", json={}, headers=headers)
            path = f"/api/conversations/{made.json()['id']}"
            body = {"content": "Hello!", "stream": False, "settings": REPLY}
            await self._ask("POST", f"{path}/messages", json=body, headers=headers)
            await self._be_refused("GET", path, 404)
            await self._ask("DELETE", path, headers=headers)
            await database.write(lambda uow: uow.api_keys.revoke(key.id))
            await asyncio.sleep(2 * MAX_AGE_S)
            await self._be_refused("GET", "/api/conversations", 401, headers=headers)
            await database.write(lambda uow: uow.api_keys.delete(key.id))
        finally:
            await database.close()


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}
