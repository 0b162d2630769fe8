"""What a user does with conversations: read, leave and resume, cancel, vary, ask twice, carry away and back."""

import json
from typing import Any, Final

from bench.load.asker import Asker

REPLY: Final = {"max_new_tokens": 40}
# So many a user keeps; older ones it deletes, so that the store has no reason to grow.
NUM_KEPT: Final = 5
SAYINGS: Final = ("Hello! How are you?", "Привіт! Розкажи щось.", "Tell me a story. " * 9)


class Conversations:
    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._ask = asker.ask
        self._kept: list[str] = []
        self.actions = [
            self._read_reply,
            self._other_versions,
            self._leave_and_resume,
            self._cancel,
            self._ask_twice,
            self._look_around,
            self._transfer,
        ]

    async def tidy_up(self, num_kept: int = 0) -> None:
        while len(self._kept) > num_kept:
            await self._ask("DELETE", f"/api/conversations/{self._kept.pop(0)}")

    async def new(self) -> str:
        await self.tidy_up(NUM_KEPT)
        self._kept.append((await self._ask("POST", "/api/conversations", json={"title": "Small talk"})).json()["id"])
        return self._kept[-1]

    async def _post(self, conversation: str, num_events: int | None = None, again: str = "") -> tuple[str, bytes]:
        """The generation's id ("" when it was refused) and its stream, or that up to `num_events` of its events.
        `again`: another version of a reply, in place of a new message."""
        path = f"/api/conversations/{conversation}/messages{again}"
        body: dict[str, Any] = {
            "stream": True,
            "settings": {**REPLY, "temperature": self._asker.random.choice((0, 0.8))},
        }
        if not again:
            body["content"] = self._asker.random.choice(SAYINGS)
        async with self._asker.client.stream("POST", path, json=body) as response:
            self._asker.answers.note("POST", path, response.status_code)
            received = b""
            if response.status_code != 200:
                await response.aread()
                return "", received
            async for chunk in response.aiter_raw():
                received += chunk
                if num_events is not None and received.count(b"\n\n") >= num_events:
                    break
        return json.loads(received.split(b"data: ", 1)[1].split(b"\n", 1)[0])["generation_id"], received

    async def _read_reply(self) -> None:
        conversation = await self.new()
        for _ in range(self._asker.random.randint(1, 3)):
            generation, received = await self._post(conversation)
            self._asker.check(not generation or b"event: done" in received, "a reply without its end", received)
        await self._ask("GET", f"/api/conversations/{conversation}/messages")

    async def _other_versions(self) -> None:
        conversation = await self.new()
        if not (await self._post(conversation))[0]:
            return
        reply = (await self._ask("GET", f"/api/conversations/{conversation}/messages")).json()["data"][-1]["id"]
        await self._post(conversation, again=f"/{reply}/regenerate")
        await self._post(conversation, again=f"/{reply}/continue")
        path = f"/api/conversations/{conversation}/messages/{reply}"
        await self._ask("POST", f"{path}/edit", json={"content": "I am fine."})
        await self._ask("GET", f"{path}/tokens")
        await self._ask("PATCH", f"/api/conversations/{conversation}", json={"title": "Other versions"})

    async def _leave_and_resume(self) -> None:
        generation, received = await self._post(await self.new(), self._asker.random.randint(1, 12))
        if generation:
            headers = {"Last-Event-ID": str(received.count(b"event: token"))}
            rest = await self._ask("GET", f"/api/generations/{generation}/events", headers=headers)
            self._asker.check(b"event: done" in rest.content, "a resumed reply without its end", rest.content)

    async def _cancel(self) -> None:
        generation, _ = await self._post(await self.new(), self._asker.random.randint(1, 8))
        if generation:
            await self._ask("POST", f"/api/generations/{generation}/cancel")
            await self._ask("GET", f"/api/generations/{generation}")

    async def _ask_twice(self) -> None:
        path = f"/api/conversations/{await self.new()}/messages"
        body = {"content": "Once more, please.", "stream": False, "settings": REPLY}
        headers = {"Idempotency-Key": str(self._asker.random.getrandbits(64))}
        for _ in range(2):
            await self._ask("POST", path, json=body, headers=headers)

    async def _look_around(self) -> None:
        pages = ("/", "/api/conversations?limit=20", "/api/conversations?search=you", "/api/models", "/v1/models")
        for path in (*pages, "/api/health", "/api/vocabulary", "/tokenizer_info"):
            await self._ask("GET", path)

    async def _transfer(self) -> None:
        conversation = await self.new()
        await self._post(conversation, 3)
        exported = await self._ask("GET", f"/api/export?conversation_id={conversation}")
        deleted = await self._ask("DELETE", f"/api/conversations/{conversation}")
        if deleted.status_code == 204:
            self._kept.remove(conversation)
        headers = {"Content-Type": "application/json"}
        imported = await self._ask("POST", "/api/import", content=exported.content, headers=headers)
        if imported.status_code == 200:
            entries = imported.json()["conversations"]
            self._kept += [entry["conversation_id"] for entry in entries if entry["status"] == "imported"]
