"""Messages as JSON arrays: `["name", field, …]`. Compact, readable in a trace, and nothing in them can run as code."""

import json
from collections.abc import Callable
from dataclasses import asdict, astuple
from typing import Any

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, EngineStats, ModelInfo, TokenLogprobs, TokenOutput
from gpt2svc.errors import EngineError
from gpt2svc.worker.messages import (
    Abort,
    Failed,
    Loading,
    Located,
    Message,
    Outputs,
    Ready,
    Shutdown,
    Start,
    Submit,
)
from gpt2svc.worker.options import WorkerOptions


def encode(message: Message) -> bytes:
    """The payload of one frame."""
    match message:
        case Outputs(outputs, stats):
            fields: list[Any] = [[_output_fields(output) for output in outputs], astuple(stats)]
        case Submit(request):
            fields = [
                request.request_id,
                request.prompt_token_ids,
                asdict(request.params),
                request.owner,
                request.num_reply_tokens,
            ]
        case Start(options):
            fields = [asdict(options)]
        case Ready(info, stats):
            fields = [asdict(info), astuple(stats)]
        case _:
            fields = list(astuple(message))
    name = type(message).__name__.lower()
    return json.dumps([name, *fields], separators=(",", ":"), check_circular=False).encode("ascii")


def decode(payload: bytes) -> Message:
    """The message in a frame's payload. Raises EngineError for anything that `encode` does not write."""
    try:
        name, *fields = json.loads(payload)
        return _DECODERS[name](*fields)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise EngineError(f"A frame between the API and its worker is not a message: {error!r}.") from error


def _output_fields(output: TokenOutput) -> list[Any]:
    logprobs = output.logprobs and [[each.logprob, each.top] for each in output.logprobs]
    return [
        output.request_id,
        output.token_ids,
        logprobs,
        output.finish_reason,
        output.error,
        output.num_cached_tokens,
    ]


def _outputs(outputs: list[list[Any]], stats: list[int]) -> Outputs:
    return Outputs(tuple(_output(*fields) for fields in outputs), EngineStats(*stats))


def _output(
    request_id: str,
    token_ids: list[int],
    logprobs: list[Any] | None,
    finish_reason: Any,
    error: str | None,
    cached: int,
) -> TokenOutput:
    decoded = (
        None
        if logprobs is None
        else tuple(TokenLogprobs(logprob, tuple((i, value) for i, value in top)) for logprob, top in logprobs)
    )
    return TokenOutput(request_id, tuple(token_ids), decoded, finish_reason, error, cached)


def _submit(
    request_id: str, prompt_token_ids: list[int], params: dict[str, Any], owner: str, num_reply_tokens: int
) -> Submit:
    params["logit_bias"] = tuple((token_id, bias) for token_id, bias in params["logit_bias"])
    params["stop_token_ids"] = tuple(params["stop_token_ids"])
    sampling = SamplingParams(**params)
    return Submit(EngineRequest(request_id, tuple(prompt_token_ids), sampling, owner, num_reply_tokens))


def _start(options: dict[str, Any]) -> Start:
    options["engine"] = EngineConfig(**options["engine"])
    options["cpus"] = tuple(options["cpus"])
    return Start(WorkerOptions(**options))


_DECODERS: dict[str, Callable[..., Message]] = {
    "start": _start,
    "submit": _submit,
    "abort": Abort,
    "shutdown": Shutdown,
    "loading": Loading,
    "located": Located,
    "ready": lambda info, stats: Ready(ModelInfo(**info), EngineStats(*stats)),
    "failed": Failed,
    "outputs": _outputs,
}
