"""evaluate_served: a model behind a running service, over HTTP. No torch, no weights on this side.

The service scores texts as they are: without an end marker, and without a way to score a completion after its prompt.
So a served model's likelihood is over texts and conversations only, and the report says that ends were not scored.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from gpt2svc.errors import EngineError, InvalidInputError, UnavailableError
from gpt2svc.evaluation.examples import Example, read_examples
from gpt2svc.evaluation.labelled import has_choices
from gpt2svc.evaluation.likelihood import Likelihood
from gpt2svc.evaluation.report import EvaluationReport, new_report
from gpt2svc.evaluation.served_tasks import ServedTasks
from gpt2svc.evaluation.text_measures import compare_texts, likelihood_measures

ProgressCallback = Callable[[str, int, int], None]  # stage, done, in all

_DEFAULT_NEW_TOKENS: Final = 128
_MAX_TRIES: Final = 8
_MAX_WAIT_S: Final = 30.0


def evaluate_served(
    client: httpx.Client,
    data: Path,
    *,
    model: str | None = None,
    max_new_tokens: int | None = None,
    stop: Sequence[str] = (),
    on_progress: ProgressCallback | None = None,
) -> EvaluationReport:
    """`client` has the service's base URL and its key; `model` is the service's default where it is None.

    Raises InvalidInputError for rows that can't be used and for what the service refuses, UnavailableError where it
    doesn't answer.
    """
    new_tokens = _DEFAULT_NEW_TOKENS if max_new_tokens is None else max_new_tokens
    if new_tokens < 0:
        raise InvalidInputError("max_new_tokens can't be negative.", field="max_new_tokens")
    service = _Service(client, model, on_progress)
    if has_choices(data) or service.task() == "classification":
        served = ServedTasks(service.post, str(client.base_url), on_progress)
        return served.choices(data) if has_choices(data) else served.labels(data)
    file = read_examples(data)
    texts = [example.text for example in file.examples if example.prompt is None]
    compared = file.completions if new_tokens else ()
    if not texts and not compared:
        raise InvalidInputError(
            f"{data} has only prompts with completions, which a service can't score: let it write completions "
            "(--max-new-tokens), or evaluate the model's folder.",
            field="data",
        )
    metrics: dict[str, float] = {}
    settings: dict[str, Any] = {"url": str(client.base_url), "scores_end_of_text": False}
    likelihood = Likelihood(0.0, 0, None, 0, 0)
    if texts:
        likelihood = service.score(texts)
        metrics |= likelihood_measures(likelihood)
        settings |= {"window": service.window, "stride": service.stride}
    if compared:
        written = service.write(compared, new_tokens, stop)
        measures, details = compare_texts(written, compared)
        metrics |= measures
        settings |= {"max_new_tokens": new_tokens, "stop": list(stop), **details}
    return new_report(
        model=service.model,
        model_revision=service.revision,
        file=file,
        likelihood=likelihood,
        num_completions=len(compared),
        num_cut_prompts=0,
        metrics=metrics,
        settings=settings,
    )


class _Service:
    def __init__(self, client: httpx.Client, model: str | None, on_progress: ProgressCallback | None) -> None:
        self._client = client
        self._model = model
        self._on_progress = on_progress
        self.model = model or "?"
        self.revision = ""
        self.window: int | None = None
        self.stride: int | None = None

    def score(self, texts: Sequence[str]) -> Likelihood:
        nats = 0.0
        num_tokens = num_bytes = num_words = 0
        for index, text in enumerate(texts):
            answer = self.post("/api/perplexity", {"text": text})
            try:
                nats += float(answer["nll"])
                num_tokens += int(answer["num_tokens"])
                bits = float(answer["bits_per_byte"])
                self.window, self.stride = int(answer["window"]), int(answer["stride"])
                self.model, self.revision = str(answer["model"]), str(answer["model_revision"])
                # The service divides by the bytes of the scored tokens and doesn't tell their number.
                scored = round(float(answer["nll"]) / math.log(2) / bits) if bits > 0 else 0
            except (KeyError, TypeError, ValueError) as error:
                raise UnavailableError("What answers there is no gpt2svc: /api/perplexity has another form.") from error
            encoded = text.encode("utf-8")
            num_bytes += scored
            num_words += len(encoded[len(encoded) - scored :].decode("utf-8", "replace").split())
            self._report("scoring", index + 1, len(texts))
        return Likelihood(nats, num_tokens, None, num_bytes, num_words)

    def write(self, examples: Sequence[Example], max_new_tokens: int, stop: Sequence[str]) -> list[str]:
        written = []
        for index, example in enumerate(examples):
            body: dict[str, Any] = {"prompt": example.prompt, "max_tokens": max_new_tokens, "temperature": 0}
            if stop:
                body["stop"] = list(stop)
            answer = self.post("/v1/completions", body)
            try:
                written.append(str(answer["choices"][0]["text"]))
            except (KeyError, IndexError, TypeError) as error:
                raise UnavailableError("What answers there is no gpt2svc: /v1/completions has another form.") from error
            self.model = str(answer.get("model", self.model))
            self._report("writing", index + 1, len(examples))
        return written

    def task(self) -> str | None:
        """What the model is for; None where the service doesn't say."""
        try:
            models = self._client.get("/api/models").json()["data"]
            return next(
                (m.get("task") for m in models if (m["is_default"] if self._model is None else m["id"] == self._model)),
                None,
            )
        except httpx.TransportError as error:
            raise self._no_answer(error) from error
        except (ValueError, LookupError, TypeError, AttributeError):
            return None

    def _no_answer(self, error: Exception) -> UnavailableError:
        return UnavailableError(f"No answer from {self._client.base_url} ({error}). Is the service running there?")

    def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        named = {**body, "model": self._model} if self._model is not None else body
        for _ in range(_MAX_TRIES):
            try:
                response = self._client.post(path, json=named)
            except httpx.TransportError as error:
                raise self._no_answer(error) from error
            if response.status_code not in (429, 503):
                break
            time.sleep(min(_seconds(response.headers.get("retry-after")), _MAX_WAIT_S))
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.is_error or not isinstance(answer, dict):
            told = answer.get("error") if isinstance(answer, dict) else None
            text = told.get("message") if isinstance(told, dict) else response.reason_phrase
            line = f"{path}: {text} (HTTP {response.status_code})"
            raise EngineError(line) if response.is_server_error else InvalidInputError(line)
        return answer

    def _report(self, stage: str, done: int, total: int) -> None:
        if self._on_progress is not None:
            self._on_progress(stage, done, total)


def _seconds(value: str | None) -> float:
    try:
        return max(float(value or 1), 0.0)
    except ValueError:
        return 1.0
