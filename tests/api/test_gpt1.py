"""A GPT-1 behind the whole service: its words over /v1, its window in a conversation."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import torch

from gpt2svc.app import create_app
from gpt2svc.config import Settings
from gpt2svc.models.tokenizer import Tokenizer
from tests.api.conftest import client_of
from tests.fakes.checkpoints import random_gpt1
from tests.fakes.gpt1_tokenizer import GPT1_VOCAB_SIZE, write_gpt1_tokenizer

WINDOW = 96


async def answered(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> dict[str, Any]:
    for _ in range(600):  # until the folder is read; the worker's own start is waited for in its queue
        response = await client.post(url, json=body, timeout=60)
        if response.status_code != 503:
            break
        await asyncio.sleep(0.1)
    assert response.status_code < 300, response.text
    return dict(response.json())


async def test_gpt1_completes_greedily_as_transformers_does_and_chats_within_its_window(tmp_path: Path) -> None:
    reference = random_gpt1(5, vocab_size=GPT1_VOCAB_SIZE, n_positions=WINDOW, n_embd=48)
    folder = write_gpt1_tokenizer(tmp_path / "model", tokenization="standard")
    reference.save_pretrained(folder)
    tokenizer = Tokenizer.from_folder(folder)
    token_ids = tokenizer.encode("the cat on")
    expected = list(token_ids)
    with torch.no_grad():
        for _ in range(10):
            expected.append(int(reference(torch.tensor([expected])).logits[0, -1].argmax()))

    app = create_app(Settings(data_dir=tmp_path / "data", model=str(folder), device="cpu"))
    async with app.router.lifespan_context(app), client_of(app) as client:
        body = {"model": str(folder), "prompt": "The cat on", "max_tokens": 10, "temperature": 0}
        choice = (await answered(client, "/v1/completions", body))["choices"][0]
        assert "the cat on" + choice["text"] == tokenizer.decode(expected)
        echoed = (await answered(client, "/v1/completions", {**body, "echo": True, "logprobs": 1}))["choices"][0]
        assert echoed["text"] == tokenizer.decode(expected)
        assert echoed["logprobs"]["tokens"][:2] == ["the ", "cat "]

        conversation = (await client.post("/api/conversations", json={})).json()["id"]
        for turn in ("Hello!", "The cat.", "On it."):
            body = {"content": turn, "settings": {"temperature": 0}}
            reply = (await client.post(f"/api/conversations/{conversation}/messages", json=body, timeout=60)).json()
            assert reply.get("status") == "completed", reply
            assert reply["usage"]["total_tokens"] <= WINDOW
        models = (await client.get("/api/models")).json()
    [served] = [model for model in models["data"] if model["is_default"]]
    assert (served["architecture"], served["task"], served["n_positions"]) == ("openai-gpt", "text", WINDOW)
