"""/api/classify and /api/choose: by a scripted engine, and by random models in workers of their own."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi import FastAPI
from transformers import GPT2Config, GPT2DoubleHeadsModel, GPT2ForSequenceClassification

from gpt2svc.app import create_app
from gpt2svc.config import Settings
from gpt2svc.engine.types import Pooling
from gpt2svc.models.task_head import ChoiceHead, ClassificationHead
from tests.api.conftest import client_of
from tests.fakes.checkpoints import TINY, sharpened
from tests.fakes.engine import ScriptedEngine
from tests.fakes.tokenizer import TINY_EOS_ID, TINY_VOCAB_SIZE, tiny_tokenizer, write_tokenizer_folder

CLASSIFY = "/api/classify"
CHOOSE = "/api/choose"

CLASSIFIER = ClassificationHead(("погано", "добре", "ніяк"), "single_label_classification")


async def test_labels_come_with_probabilities_the_likeliest_first(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.task_head = CLASSIFIER
    engine.score((0.0, 2.0, 1.0), when="hello")
    engine.score((3.0, 0.0, 1.0), when="hell no")
    response = await client.post(CLASSIFY, json={"input": ["oh hello", "hell no"]})
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["model"], body["problem_type"]) == ("tiny", "single_label_classification")
    first, second = body["results"]
    assert [(label["id"], label["label"]) for label in first["labels"]] == [(1, "добре"), (2, "ніяк"), (0, "погано")]
    assert (first["label"], second["label"]) == ("добре", "погано")
    total = sum(math.exp(score) for score in (0, 2, 1))
    assert first["labels"][0]["probability"] == pytest.approx(math.exp(2) / total)
    assert first["labels"][0]["score"] == 2.0
    assert first["num_tokens"] == len(engine.encode("oh hello"))
    assert {request.pooling for request in engine.requests} == {Pooling("last", has_head=True)}
    one = (await client.post(CLASSIFY, json={"input": "oh hello", "top_k": 1})).json()
    assert [len(result["labels"]) for result in one["results"]] == [1]


async def test_several_labels_at_once_and_numbers_keep_their_meaning(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.score((-1.0, 800.0, -800.0))
    engine.task_head = ClassificationHead(("a", "b", "c"), "multi_label_classification")
    labels = (await client.post(CLASSIFY, json={"input": "x"})).json()["results"][0]["labels"]
    assert [label["probability"] for label in labels] == pytest.approx([1.0, 1 / (1 + math.e), 0.0])
    engine.task_head = ClassificationHead(("a", "b", "c"), "regression")
    numbers = (await client.post(CLASSIFY, json={"input": "x"})).json()["results"][0]["labels"]
    assert [(label["score"], label["probability"]) for label in numbers] == [
        (800.0, None),
        (-1.0, None),
        (-800.0, None),
    ]


async def test_token_ids_are_read_as_they_are_but_for_padding(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.task_head = ClassificationHead(("a", "b"), "single_label_classification", pad_token_id=5)
    engine.score((1.0, 2.0))
    await client.post(CLASSIFY, json={"input": [3, 5, 4, 5, 5]})
    await client.post(CLASSIFY, json={"input": [[7, 8], [5, 5]]})
    assert [request.prompt_token_ids for request in engine.requests] == [(3, 5, 4), (7, 8), (5,)]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [TINY_VOCAB_SIZE]}, "input"),
        ({"input": [[1], [TINY_VOCAB_SIZE]]}, "input.1"),
        ({"input": ["a"] * 129}, "input"),
        ({"input": "x" * 257}, "input"),
        ({"input": ["a", "x" * 257]}, "input.1"),
        ({"input": "a\x00"}, "input"),
        ({"input": "a", "top_k": 0}, "top_k"),
        ({"input": "a", "topk": 1}, "topk"),
    ],
)
async def test_wrong_input_is_refused_by_name(
    client: httpx.AsyncClient, engine: ScriptedEngine, body: dict[str, object], param: str
) -> None:
    engine.task_head = CLASSIFIER
    response = await client.post(CLASSIFY, json=body)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == param
    assert not engine.requests


async def test_model_of_another_task_is_refused_by_what_it_lacks(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    refused = await client.post(CLASSIFY, json={"input": "x"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "wrong_model_task")
    body = {"prompt": "a", "choices": ["b", "c"]}
    assert (await client.post(CHOOSE, json={**body, "method": "head"})).json()["error"]["code"] == "wrong_model_task"
    engine.task_head = CLASSIFIER
    conversation = (await client.post("/api/conversations", json={})).json()["id"]
    for url, other in (
        (CHOOSE, body),
        ("/api/next-token", {"prompt": "a"}),
        ("/api/perplexity", {"text": "abc"}),
        ("/v1/completions", {"model": "tiny", "prompt": "a"}),
        ("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "a"}]}),
        (f"/api/conversations/{conversation}/messages", {"content": "Hi"}),
    ):
        answer = await client.post(url, json=other)
        assert (answer.status_code, answer.json()["error"]["code"]) in {
            (422, "wrong_model_task"),
            (400, "wrong_model_task"),
        }, (url, answer.text)
        assert "classifies" in answer.json()["error"]["message"]
    assert not engine.requests
    assert (await client.get(f"/api/conversations/{conversation}/messages")).json()["data"] == []


async def test_choices_are_ranked_by_head_or_by_likelihood(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    body = {"prompt": "the", "choices": [" a", " hello", " world"]}
    plain = (await client.post(CHOOSE, json=body)).json()
    assert (plain["method"], plain["prompt_tokens"]) == ("loglikelihood", len(engine.encode("the")))
    assert [choice["score"] for choice in plain["choices"]] == [-0.5] * 3  # of a token on average
    assert [choice["index"] for choice in plain["choices"]] == [0, 1, 2]
    assert sum(choice["probability"] for choice in plain["choices"]) == pytest.approx(1)
    engine.task_head = ChoiceHead()
    engine.score((0.0,))
    engine.score((4.0,), when="the hello")
    headed = (await client.post(CHOOSE, json=body)).json()
    assert headed["method"] == "head"
    assert (headed["choices"][0]["text"], headed["choices"][0]["index"]) == (" hello", 1)
    assert headed["choices"][0]["probability"] == pytest.approx(math.exp(4) / (math.exp(4) + 2))
    asked = (await client.post(CHOOSE, json={**body, "method": "loglikelihood"})).json()
    assert asked["choices"] == plain["choices"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": "a"}, "choices"),
        ({"prompt": "a", "choices": ["b"]}, "choices"),
        ({"prompt": "a", "choices": ["b"] * 65}, "choices"),
        ({"prompt": "a", "choices": ["b", ""]}, "choices.1"),
        ({"prompt": "", "choices": ["b", "c"]}, "prompt"),
        ({"prompt": "a", "choices": ["b", "x" * 256]}, "choices.1"),
        ({"prompt": "a", "choices": ["b", "c"], "method": "guess"}, "method"),
    ],
)
async def test_wrong_question_is_refused_by_name(
    client: httpx.AsyncClient, body: dict[str, object], param: str
) -> None:
    response = await client.post(CHOOSE, json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (422, param)


async def test_admission_deadline_and_the_worker_hold_for_tasks_too(
    make_app: Callable[..., FastAPI], engine: ScriptedEngine
) -> None:
    engine.task_head = CLASSIFIER
    engine.score((0.0, 1.0, 2.0))
    app = make_app(max_num_seqs=1, max_queued_requests=0)
    async with app.router.lifespan_context(app), client_of(app) as client:
        engine.hold_at(0)
        first = asyncio.create_task(client.post(CLASSIFY, json={"input": ["a", "b"]}))
        await engine.wait_for_requests(2)
        for url, body in ((CLASSIFY, {"input": "a"}), (CHOOSE, {"prompt": "a", "choices": ["b", "c"]})):
            refused = await client.post(url, json=body)
            assert refused.status_code == 429
            assert "retry-after" in refused.headers
        engine.crash()
        crashed = await first
        assert (crashed.status_code, crashed.headers["retry-after"]) == (503, "1")
        engine.recover()
        late = await client.post(CLASSIFY, json={"input": "a"}, headers={"X-Request-Timeout": "0.05"})
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
        await engine.wait_until_idle()
        engine.release()
        assert (await client.post(CLASSIFY, json={"input": "a"})).status_code == 200
        engine.fail("It is gone.")
        assert (await client.post(CLASSIFY, json={"input": "a"})).status_code == 503


async def ready(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer, once the model's folder is read; the worker's own start is waited for in its queue."""
    for _ in range(600):
        response = await client.post(url, json=body, timeout=60)
        if response.status_code != 503:
            break
        await asyncio.sleep(0.1)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_labels_and_choices_equal_transformers_through_real_workers(tmp_path: Path) -> None:
    shape = {**TINY, "vocab_size": TINY_VOCAB_SIZE, "bos_token_id": TINY_EOS_ID, "eos_token_id": TINY_EOS_ID}
    torch.manual_seed(8)
    labels = {"id2label": {0: "ні", 1: "так", 2: "може"}, "label2id": {"ні": 0, "так": 1, "може": 2}}
    classifier = sharpened(GPT2ForSequenceClassification(GPT2Config(**shape, **labels, pad_token_id=TINY_EOS_ID)))
    chooser = sharpened(GPT2DoubleHeadsModel(GPT2Config(**shape)))
    for model, name in ((classifier, "classifier"), (chooser, "chooser")):
        model.save_pretrained(write_tokenizer_folder(tmp_path / name))

    def encode(text: str) -> list[int]:
        return list(tiny_tokenizer().encode(text, add_special_tokens=False).ids)

    texts = ["the hello", "Привіт", "a" * 40, "User: hello\n"]
    app = create_app(Settings(data_dir=tmp_path / "data", model=str(tmp_path / "classifier"), device="cpu"))
    async with app.router.lifespan_context(app), client_of(app) as client:
        body = await ready(client, CLASSIFY, {"input": texts})
    for text, result in zip(texts, body["results"], strict=True):
        with torch.no_grad():
            logits = classifier(torch.tensor([encode(text)])).logits[0]
        found = {label["label"]: label for label in result["labels"]}
        names = ("ні", "так", "може")
        assert [found[name]["score"] for name in names] == pytest.approx(logits.tolist(), abs=2e-4)
        assert [found[name]["probability"] for name in names] == pytest.approx(logits.softmax(-1).tolist(), abs=2e-4)
        assert result["label"] == names[int(logits.argmax())]

    prompt, choices = "the", [" hello", " a", " User", " ÿ"]
    app = create_app(Settings(data_dir=tmp_path / "other", model=str(tmp_path / "chooser"), device="cpu"))
    async with app.router.lifespan_context(app), client_of(app) as client:
        headed = await ready(client, CHOOSE, {"prompt": prompt, "choices": choices})
        likely = await ready(client, CHOOSE, {"prompt": prompt, "choices": choices, "method": "loglikelihood"})
    rows = [encode(prompt) + encode(choice) for choice in choices]
    with torch.no_grad():
        scores = [float(chooser(torch.tensor([[row]])).mc_logits[0]) for row in rows]
        logprobs = [torch.log_softmax(chooser(torch.tensor([[row]])).logits[0, 0], -1) for row in rows]
    assert [choice["index"] for choice in headed["choices"]] == sorted(range(4), key=lambda i: -scores[i])
    assert [choice["score"] for choice in headed["choices"]] == pytest.approx(sorted(scores, reverse=True), abs=2e-4)
    start = len(encode(prompt))
    means = [
        sum(float(table[i - 1, row[i]]) for i in range(start, len(row))) / (len(row) - start)
        for row, table in zip(rows, logprobs, strict=True)
    ]
    assert [choice["score"] for choice in likely["choices"]] == pytest.approx(sorted(means, reverse=True), abs=2e-4)
