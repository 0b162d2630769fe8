"""What schemathesis can't know by itself; it loads this file in its own process. See schemathesis_run.py."""

import json
import os
from typing import Any

import schemathesis

CLASSIFIER_VARIABLE = "SCHEMATHESIS_CLASSIFIER"  # the name of a model that can classify, where the service has one
_ENVELOPE = {"message": str, "type": str, "param": str | None, "code": str}
_ENOUGH_S = "60"


class SoundRequests:
    """They are to get beyond the door: with the time it takes, to a model and a response that are there. (schemathesis
    itself finds no ids in answers that may also be streams.)
    """

    def __init__(self) -> None:
        self._response_ids: list[str] = []

    def learn(self, case: Any, response: Any) -> None:
        if case.path == "/v1/responses" and response.status_code == 200 and response.content.startswith(b"{"):
            found = response.json()
            self._response_ids += [found["id"]] if found["store"] else []

    def adjust(self, case: Any) -> None:
        if case.meta is None or not case.meta.generation.mode.is_positive:
            return
        if "X-Request-Timeout" in case.headers:
            case.headers["X-Request-Timeout"] = _ENOUGH_S
        if isinstance(case.body, dict) and "model" in case.body:
            case.body = {name: value for name, value in case.body.items() if name != "model"}
        if isinstance(case.body, dict) and case.path == "/api/classify" and CLASSIFIER_VARIABLE in os.environ:
            case.body = {**case.body, "model": os.environ[CLASSIFIER_VARIABLE]}
        if "response_id" in case.path_parameters and self._response_ids:
            is_delete = case.method.upper() == "DELETE"
            case.path_parameters["response_id"] = self._response_ids.pop() if is_delete else self._response_ids[-1]


sound_requests = SoundRequests()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    sound_requests.adjust(case)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    sound_requests.learn(case, response)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """A header that nobody has documented is no fault of a request."""
    return "x-schemathesis-unknown-property" not in (case.headers or {})


@schemathesis.check
def errors_have_the_envelope(ctx: Any, response: Any, case: Any) -> None:
    """Every answer names its request; every error is `{"error": {"message", "type", "param", "code"}}`."""
    if "x-request-id" not in response.headers:
        raise AssertionError("The answer has no x-request-id.")
    is_error = response.status_code >= 400 and (case.path, response.status_code) != ("/readyz", 503)
    if not is_error or case.method.upper() == "HEAD":
        return
    error = response.json()["error"]
    if error.keys() != _ENVELOPE.keys() or not all(isinstance(error[name], kind) for name, kind in _ENVELOPE.items()):
        raise AssertionError(f"The error is not in the envelope: {error}")


@schemathesis.check
def streams_end_in_a_stated_way(ctx: Any, response: Any, case: Any) -> None:
    """The last event of a stream says how it went."""
    if not (response.headers.get("content-type") or [""])[0].startswith("text/event-stream"):
        return
    if not response.content and "starting_after" in case.query:
        return  # who had seen the end is sent nothing
    last = response.content.decode().rstrip("\n").rpartition("\n\n")[2]
    fields = dict(line.split(": ", 1) for line in last.split("\n") if not line.startswith(":"))
    if case.path in ("/v1/chat/completions", "/v1/completions"):
        is_stated = fields["data"] == "[DONE]" or "error" in json.loads(fields["data"])
    elif case.path.startswith("/v1/responses"):
        is_stated = fields["event"] in ("response.completed", "response.incomplete", "response.failed", "error")
    else:
        is_stated = fields["event"] in ("done", "error")
    if not is_stated:
        raise AssertionError(f"The stream ends with {last!r}.")


@schemathesis.check
class EveryOperationSucceeds:
    """At least once: else the other checks have seen nothing but refusals."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._succeeded: set[str] = set()

    def after_response(self, ctx: Any, response: Any, case: Any) -> None:
        self._seen.add(case.operation.label)
        if response.status_code < 300:
            self._succeeded.add(case.operation.label)

    def after_run(self, ctx: Any) -> None:
        without = self._seen - self._succeeded
        if CLASSIFIER_VARIABLE not in os.environ:
            without.discard("POST /api/classify")
        if without:
            raise AssertionError(f"Never answered with success: {', '.join(sorted(without))}.")
