"""What a program asks at /v1 and of the model itself: completions, responses, embeddings, scores; and hanging up."""

import asyncio
import json
from typing import Any, Final

from bench.load.asker import Asker

NUM_KEPT: Final = 5


class OpenAi:
    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._ask = asker.ask
        self._responses: list[str] = []
        self.actions = [
            self._chat_completion,
            self._completion,
            self._response,
            self._background_response,
            self._score,
            self._embed,
            self._hang_up,
        ]

    async def tidy_up(self, num_kept: int = 0) -> None:
        while len(self._responses) > num_kept:
            await self._ask("DELETE", f"/v1/responses/{self._responses.pop(0)}")

    async def _chat_completion(self) -> None:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello! Who are you?"}]
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        scored = {"logprobs": True, "top_logprobs": 3}
        more: dict[str, Any] = self._asker.random.choice((stream, scored, {"n": 2}, {"stop": "."}))
        body = {"messages": messages, "max_tokens": 30, **more}
        response = await self._ask("POST", "/v1/chat/completions", json=body)
        if "stream" in more and response.status_code == 200:
            self._asker.check(b"[DONE]" in response.content, "a chat completion without its end", response.content)

    async def _completion(self) -> None:
        beams = {"num_beams": 3, "temperature": 0}
        several = {"prompt": ["One", "Two"], "best_of": 2}
        scored = {"echo": True, "logprobs": 2, "max_tokens": 0}
        more: dict[str, Any] = self._asker.random.choice(({"stream": True}, {}, beams, several, scored))
        body = {"prompt": "Once upon a time", "max_tokens": 30, **more}
        response = await self._ask("POST", "/v1/completions", json=body)
        if "stream" in more and response.status_code == 200:
            self._asker.check(b"[DONE]" in response.content, "a completion without its end", response.content)
        if not more:  # too little time for it
            headers = {"X-Request-Timeout": "0.02"}
            await self._ask("POST", "/v1/completions", 504, json={**body, "max_tokens": 400}, headers=headers)

    async def _response(self) -> None:
        await self.tidy_up(NUM_KEPT)
        is_stream, is_stored = self._asker.is_heads(), self._asker.is_heads(0.7)
        body: dict[str, Any] = {"input": "Hello! Who are you?", "max_output_tokens": 30}
        body |= {"stream": is_stream, "store": is_stored}
        if self._responses and self._asker.is_heads():
            body |= {"previous_response_id": self._responses[-1], "truncation": "auto"}
        response = await self._ask("POST", "/v1/responses", json=body)
        if response.status_code != 200:
            return
        content = response.content
        if is_stream:
            is_ended = b"event: response.completed" in content or b"event: response.incomplete" in content
            self._asker.check(is_ended, "a response without its end", content)
            content = content.split(b"data: ", 1)[1].split(b"\n", 1)[0]
        if is_stored:
            found = json.loads(content)
            self._responses.append(found["response"]["id"] if is_stream else found["id"])

    async def _background_response(self) -> None:
        await self.tidy_up(NUM_KEPT)
        body = {"input": "Tell me a story.", "background": True, "max_output_tokens": 60}
        response = await self._ask("POST", "/v1/responses", json=body)
        if response.status_code != 200:
            return
        self._responses.append(response.json()["id"])
        path = f"/v1/responses/{self._responses[-1]}"
        if self._asker.is_heads(0.3):
            await self._ask("POST", f"{path}/cancel")
        else:
            place = self._asker.random.randint(0, 3)
            rest = await self._ask("GET", f"{path}?stream=true&starting_after={place}")
            is_ended = b"event: response.completed" in rest.content or b"event: response.incomplete" in rest.content
            self._asker.check(is_ended, "a resumed response without its end", rest.content)
        await self._ask("GET", f"{path}/input_items")

    async def _score(self) -> None:
        text = "The weather is nice today, and so it was yesterday."
        await self._ask("POST", "/api/next-token", json={"prompt": text, "full": self._asker.is_heads()})
        await self._ask("POST", "/api/perplexity", json={"text": text, "token_logprobs": True})
        await self._ask("POST", "/api/choose", json={"prompt": text, "choices": [" Yes.", " No.", " It rains."]})

    async def _embed(self) -> None:
        tokens = (await self._ask("POST", "/tokenize", json={"prompt": "Добрий день!"})).json()["tokens"]
        await self._ask("POST", "/detokenize", json={"tokens": tokens})
        await self._ask("POST", "/v1/embeddings", json={"input": ["One text", "and another"]})
        await self._ask("POST", "/v1/embeddings", json={"input": [tokens], "encoding_format": "base64"})

    async def _hang_up(self) -> None:
        bodies: dict[str, dict[str, Any]] = {
            "/v1/completions": {"prompt": "Once upon a time", "max_tokens": 400},
            "/v1/chat/completions": {"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 400},
            "/v1/responses": {"input": "Tell me a story.", "max_output_tokens": 400, "store": False},
            "/api/perplexity": {"text": "The weather is nice today. " * 200},
        }
        path = self._asker.random.choice(list(bodies))
        is_stream = {} if path == "/api/perplexity" else {"stream": self._asker.is_heads()}
        try:
            async with asyncio.timeout(self._asker.random.uniform(0.0, 0.3)):
                await self._ask("POST", path, json={**bodies[path], **is_stream})
        except TimeoutError:
            self._asker.answers.counts[f"POST {path}, hung up"] += 1
