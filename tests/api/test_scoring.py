"""/api/next-token and /api/perplexity: by a scripted engine, and by a random model in a worker of its own."""

import asyncio
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi import FastAPI

from gpt2svc.app import create_app
from gpt2svc.config import Settings
from tests.api.conftest import client_of, new_conversation
from tests.fakes.checkpoints import random_gpt2
from tests.fakes.engine import ScriptedEngine
from tests.fakes.tokenizer import TINY_EOS_ID, TINY_VOCAB_SIZE, tiny_tokenizer, write_tokenizer_folder

NEXT = "/api/next-token"


async def replied(client: httpx.AsyncClient, content: str = "Hi", **settings: object) -> dict[str, Any]:
    conversation = await new_conversation(client)
    url = f"/api/conversations/{conversation}/messages"
    return dict((await client.post(url, json={"content": content, "settings": settings})).json())


async def test_likeliest_next_tokens_of_a_text(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    response = await client.post(NEXT, json={"prompt": "the <|endoftext|>", "top_n": 3})
    assert response.status_code == 200
    body = response.json()
    prompt = engine.requests[-1].prompt_token_ids
    assert engine.decode(prompt) == "the <|endoftext|>"
    assert TINY_EOS_ID not in prompt  # a special token's name is plain text
    assert (body["model"], body["prompt_tokens"], body["entropy"]) == ("tiny", len(prompt), 1.25)
    assert [token["logprob"] for token in body["tokens"]] == [-0.5, -1.5, -2.5]
    assert [token["token_id"] for token in body["tokens"]] == [prompt[-1], prompt[-1] + 1, prompt[-1] + 2]
    assert body["tokens"][0]["text"] == engine.decode(prompt[-1:])
    assert len((await client.post(NEXT, json={"prompt": "a"})).json()["tokens"]) == 20


@pytest.mark.parametrize(("body", "headers"), [({"full": True}, {}), ({}, {"Accept": "application/octet-stream"})])
async def test_whole_distribution_is_binary(
    client: httpx.AsyncClient, body: dict[str, object], headers: dict[str, str]
) -> None:
    response = await client.post(NEXT, json={"prompt": "a", **body}, headers=headers)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["x-vocab-size"] == str(TINY_VOCAB_SIZE)
    assert (response.headers["x-model"], response.headers["x-entropy"]) == ("tiny", "1.25")
    assert response.headers["x-log-normalizer"] == "2.5"
    values = struct.unpack(f"<{TINY_VOCAB_SIZE}f", response.content)
    assert max(values) == -0.5


async def test_places_in_a_conversation(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.say(" hello the world")
    reply = await replied(client, "Hi")
    prompt, own = engine.requests[0].prompt_token_ids, engine.encode(" hello the world")
    place = {"conversation_id": reply["conversation_id"], "message_id": reply["id"]}
    for body, expected in (
        ({"conversation_id": reply["conversation_id"]}, prompt + own),
        (place, prompt + own),
        ({**place, "message_id": reply["parent_id"]}, prompt),
        ({**place, "num_reply_tokens": 0}, prompt),
        ({**place, "num_reply_tokens": 2}, prompt + own[:2]),
        ({**place, "prefix": ""}, prompt),
        ({**place, "prefix": "other"}, prompt + engine.encode(" other")),
        ({**place, "message_id": reply["parent_id"], "prefix": "hello"}, prompt + engine.encode(" hello")),
    ):
        response = await client.post(NEXT, json=body)
        assert response.status_code == 200, (body, response.text)
        assert engine.requests[-1].prompt_token_ids == expected, body
    messages = (await client.get(f"/api/conversations/{reply['conversation_id']}/messages")).json()["data"]
    assert len(messages) == 2


async def test_tokens_of_a_reply_are_those_of_its_making(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.say(" hello the ÿ world")
    reply = await replied(client, "Привіт")
    url = f"/api/conversations/{reply['conversation_id']}/messages"
    body = (await client.get(f"{url}/{reply['id']}/tokens")).json()
    assert body["prompt"] == "User: Привіт\nAssistant:"
    assert body["prompt_token_ids"] == list(engine.requests[0].prompt_token_ids)
    assert body["reply_token_ids"] == list(engine.encode(" hello the ÿ world"))
    assert (body["is_exact"], body["model"], body["n_positions"]) == (True, "tiny", 256)
    assert (body["eos_token_id"], body["dropped_message_ids"]) == (TINY_EOS_ID, [])
    vocabulary = (await client.get("/api/vocabulary", params={"model": "tiny"})).json()
    assert (vocabulary["model"], vocabulary["model_revision"]) == (body["model"], body["model_revision"])
    assert len(vocabulary["tokens"]) == TINY_VOCAB_SIZE
    assert vocabulary["tokens"][TINY_EOS_ID] == ""
    shown = "".join(vocabulary["tokens"][token_id] for token_id in body["reply_token_ids"])
    assert shown == " hello the \ufffd\ufffd world"
    # A question has the prompt that a reply to it would have; an edited reply the tokens of its text.
    question = (await client.get(f"{url}/{reply['parent_id']}/tokens")).json()
    assert (question["prompt"], question["reply_token_ids"]) == (body["prompt"], [])
    edited = (await client.post(f"{url}/{reply['id']}/edit", json={"content": "hell"})).json()
    other = (await client.get(f"{url}/{edited['id']}/tokens")).json()
    assert (other["reply_token_ids"], other["is_exact"]) == (list(engine.encode(" hell")), False)


async def test_tokens_of_others_are_not_found(client: httpx.AsyncClient) -> None:
    reply, other = await replied(client), await replied(client)
    for conversation, message in (
        (reply["conversation_id"], other["id"]),
        ("conv_" + "0" * 26, reply["id"]),
    ):
        response = await client.get(f"/api/conversations/{conversation}/messages/{message}/tokens")
        assert response.status_code == 404
    assert (await client.get("/api/vocabulary", params={"model": "no-such-model"})).status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "conversation_id": "c"}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 257}, "prompt"),
        ({"prompt": "a\x00"}, "prompt"),
        ({"prompt": "a", "top_n": 1001}, "top_n"),
        ({"prompt": "a", "top_n": -1}, "top_n"),
        ({"prompt": "a", "prefix": "b"}, "prefix"),
        ({"prompt": "a", "message_id": "m"}, "message_id"),
        ({"prompt": "a", "full": "yes"}, "full"),
        ({"prompt": "a", "topn": 1}, "topn"),
    ],
)
async def test_wrong_question_is_refused_by_name(
    client: httpx.AsyncClient, body: dict[str, object], param: str
) -> None:
    response = await client.post(NEXT, json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (422, param)


async def test_wrong_place_is_refused(client: httpx.AsyncClient) -> None:
    reply = await replied(client)
    place = {"conversation_id": reply["conversation_id"], "message_id": reply["id"]}
    empty = await new_conversation(client)
    for body, status, param in (
        ({**place, "num_reply_tokens": 99}, 422, "num_reply_tokens"),
        ({**place, "num_reply_tokens": 1, "prefix": "a"}, 422, "prefix"),
        ({**place, "message_id": reply["parent_id"], "num_reply_tokens": 1}, 422, "num_reply_tokens"),
        ({**place, "prefix": "x" * 300}, 422, "prefix"),
        ({"conversation_id": empty}, 422, "conversation_id"),
        ({**place, "message_id": "msg_" + "0" * 26}, 404, "message_id"),
        ({"conversation_id": "conv_" + "0" * 26}, 404, "conversation_id"),
        ({"prompt": "a", "model": "no-such-model"}, 404, "model_id"),
    ):
        response = await client.post(NEXT, json=body)
        assert (response.status_code, response.json()["error"]["param"]) == (status, param), body


async def test_admission_and_the_worker_hold_for_scoring_too(
    make_app: Callable[..., FastAPI], engine: ScriptedEngine
) -> None:
    app = make_app(max_num_seqs=1, max_queued_requests=0)
    async with app.router.lifespan_context(app), client_of(app) as client:
        engine.hold_at(0)
        first = asyncio.create_task(client.post(NEXT, json={"prompt": "a"}))
        await engine.wait_for_requests(1)
        for url, body in ((NEXT, {"prompt": "a"}), ("/api/perplexity", {"text": "abc"})):
            refused = await client.post(url, json=body)
            assert refused.status_code == 429
            assert "retry-after" in refused.headers
        engine.crash()
        crashed = await first
        assert (crashed.status_code, crashed.headers["retry-after"]) == (503, "1")
        engine.release()
        engine.recover()
        assert (await client.post("/api/perplexity", json={"text": "abc"})).status_code == 200
        engine.fail("It is gone.")
        assert (await client.post(NEXT, json={"prompt": "a"})).status_code == 503


async def test_perplexity_sums_exactly_and_lists_tokens_when_asked(client: httpx.AsyncClient) -> None:
    text = "Привіт, the hello"
    body = (await client.post("/api/perplexity", json={"text": text, "token_logprobs": True})).json()
    assert body["num_tokens"] == len(body["token_logprobs"]) - 1
    assert body["token_logprobs"][0]["logprob"] is None
    assert body["nll"] == 0.5 * body["num_tokens"]
    assert body["perplexity"] == pytest.approx(math.exp(0.5))
    assert body["bits_per_byte"] == pytest.approx(body["nll"] / math.log(2) / (len(text.encode()) - 1))
    plain = (await client.post("/api/perplexity", json={"text": text})).json()
    assert plain["token_logprobs"] is None
    refused = await client.post("/api/perplexity", json={"text": "a"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "text")


async def test_numbers_equal_transformers_through_a_real_worker(tmp_path: Path) -> None:
    ids = {"bos_token_id": TINY_EOS_ID, "eos_token_id": TINY_EOS_ID}
    reference = random_gpt2(6, spread=4.0, vocab_size=TINY_VOCAB_SIZE, n_positions=32, n_embd=32, n_layer=2, **ids)
    folder = write_tokenizer_folder(tmp_path / "model")
    reference.save_pretrained(folder)
    text = "Hello there! Це довгий текст, довший за вікно моделі: the tokens are scored in windows that overlap." * 2
    app = create_app(Settings(data_dir=tmp_path / "data", model=str(folder), device="cpu"))
    async with app.router.lifespan_context(app), client_of(app) as client:
        for _ in range(600):  # until the folder is read; the worker's own start is waited for in its queue
            response = await client.post("/api/perplexity", json={"text": text, "token_logprobs": True}, timeout=60)
            if response.status_code != 503:
                break
            await asyncio.sleep(0.1)
        body = response.json()
        token_ids = tiny_tokenizer().encode(text, add_special_tokens=False).ids
        assert [token["token_id"] for token in body["token_logprobs"]] == token_ids
        assert (body["window"], body["stride"]) == (32, 16)
        assert body["nll"] == pytest.approx(strided_nll(reference, token_ids, 32, 16), rel=1e-5)
        assert body["perplexity"] == pytest.approx(math.exp(body["nll"] / (len(token_ids) - 1)))

        prompt = text[:25]
        prompt_ids = tiny_tokenizer().encode(prompt, add_special_tokens=False).ids
        with torch.no_grad():
            logits = reference(torch.tensor([prompt_ids])).logits[0, -1]
        logprobs = torch.log_softmax(logits, -1)
        binary = await client.post(NEXT, json={"prompt": prompt, "full": True})
        assert struct.unpack(f"<{TINY_VOCAB_SIZE}f", binary.content) == pytest.approx(logprobs.tolist(), abs=1e-4)
        normalizer = float(binary.headers["x-log-normalizer"])
        assert normalizer == pytest.approx(torch.logsumexp(logits, -1).item(), abs=1e-4)
        listed = (await client.post(NEXT, json={"prompt": prompt, "top_n": 1000})).json()
        assert len(listed["tokens"]) == TINY_VOCAB_SIZE
        assert sum(math.exp(token["logprob"]) for token in listed["tokens"]) == pytest.approx(1.0, abs=1e-5)


def strided_nll(model: Any, token_ids: list[int], window: int, stride: int) -> float:
    """The loop of the transformers documentation, summed by token."""
    total, scored_to = 0.0, 1
    for begin in range(0, len(token_ids), stride):
        end = min(begin + window, len(token_ids))
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([token_ids[begin:end]])).logits[0].double(), -1)
        for position in range(scored_to, end):
            total -= logprobs[position - 1 - begin, token_ids[position]].item()
        scored_to = end
        if end == len(token_ids):
            return total
    return total
