"""A served model: through the real service, and by scripted answers."""

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

from gpt2svc.app import create_app
from gpt2svc.config import Settings
from gpt2svc.errors import EngineError, InvalidInputError, UnavailableError
from gpt2svc.evaluation.evaluation import EvaluationOptions, evaluate
from gpt2svc.evaluation.report import caveats
from gpt2svc.evaluation.served import evaluate_served
from gpt2svc.models.folder import ModelFolder
from tests.fakes.running_app import running

TEXTS = ["hello the other thing", "Привіт, світе"]
ROWS = [*({"text": text} for text in TEXTS), {"prompt": "hello", "completion": " the"}]


async def test_a_served_model_measures_as_its_folder_does(
    model_path: Path, rows_file: Callable[..., Path], tmp_path: Path
) -> None:
    data = rows_file(ROWS)
    app = create_app(Settings(data_dir=tmp_path / "data", model=str(model_path), device="cpu"))
    async with running(app) as url:
        with httpx.Client(base_url=url, timeout=60) as client:
            for _ in range(600):
                ready = await asyncio.to_thread(client.post, "/api/perplexity", json={"text": "hello"})
                if ready.status_code != 503:
                    break
                await asyncio.sleep(0.1)
            report = await asyncio.to_thread(evaluate_served, client, data, max_new_tokens=8)

    model, tokenizer = GPT2LMHeadModel.from_pretrained(model_path), AutoTokenizer.from_pretrained(model_path)
    nats, num_tokens, num_bytes = 0.0, 0, 0
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            nats += model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        num_tokens += ids.shape[1] - 1
        num_bytes += len(text.encode()) - len(tokenizer.tokenize(text)[0])
    assert (report.num_tokens, report.num_bytes, report.num_examples) == (num_tokens, num_bytes, 3)
    assert report.metrics["perplexity"] == pytest.approx(math.exp(nats / num_tokens), rel=1e-4)
    assert report.metrics["bits_per_byte"] == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-4)
    assert "accuracy" not in report.metrics

    local = evaluate(ModelFolder.open(model_path), data, EvaluationOptions(max_new_tokens=8))
    for name in ("bleu", "rouge1", "rougeL", "exact_match"):
        assert report.metrics[name] == local.metrics[name]
    assert report.model_revision == local.model_revision
    assert "ends of the texts" in caveats(report, local)[0]


class Answers:
    """One answer a request, the last one for ever: (status, body)."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self._answers = list(answers)
        self.bodies: list[Any] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content))
        status, body = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return httpx.Response(status, json=body, headers={"retry-after": "0"})


SCORED = {
    "model": "m",
    "model_revision": "r",
    "nll": 3 * math.log(2),
    "num_tokens": 3,
    "bits_per_byte": 0.5,
    "window": 64,
    "stride": 32,
}


def served_by(answers: Answers, data: Path, **options: Any) -> Any:
    with httpx.Client(base_url="http://service", transport=httpx.MockTransport(answers)) as client:
        return evaluate_served(client, data, **options)


def test_a_busy_service_is_asked_again(rows_file: Callable[..., Path]) -> None:
    answers = Answers((429, {}), (503, {}), (200, SCORED))
    report = served_by(answers, rows_file([{"text": "one two three"}]), model="m")
    assert [body["model"] for body in answers.bodies] == ["m"] * 3
    assert (report.num_tokens, report.num_bytes, report.num_words) == (3, 6, 1)  # " three"
    assert report.metrics["perplexity"] == pytest.approx(2)


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (401, {"error": {"message": "A key is needed."}}, InvalidInputError, "A key is needed"),
        (500, {"error": {"message": "It broke."}}, EngineError, "It broke"),
        (200, {"hello": "world"}, UnavailableError, "no gpt2svc"),
        (200, [], InvalidInputError, "HTTP 200"),
        (429, {"error": {"message": "Too much."}}, InvalidInputError, "Too much"),
    ],
)
def test_what_the_service_refuses_is_told_in_its_words(
    rows_file: Callable[..., Path], status: int, body: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        served_by(Answers((status, body)), rows_file([{"text": "one two"}]))


def test_prompts_alone_can_be_written_but_not_scored(rows_file: Callable[..., Path]) -> None:
    data = rows_file([{"prompt": "Q", "completion": " так"}])
    answers = Answers((200, {"model": "m", "choices": [{"text": " так "}]}))
    report = served_by(answers, data, stop=("\n",))
    assert answers.bodies == [{"prompt": "Q", "max_tokens": 128, "temperature": 0, "stop": ["\n"]}]
    assert report.metrics["exact_match"] == 1
    assert "perplexity" not in report.metrics
    with pytest.raises(InvalidInputError, match="only prompts"):
        served_by(answers, data, max_new_tokens=0)


def test_nobody_there_is_said(rows_file: Callable[..., Path]) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with (
        httpx.Client(base_url="http://service", transport=httpx.MockTransport(refuse)) as client,
        pytest.raises(UnavailableError, match="Is the service running"),
    ):
        evaluate_served(client, rows_file([{"text": "one two"}]))
