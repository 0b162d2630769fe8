"""Messages as JSON arrays: `["name", field, …]`. Compact, readable in a trace, and nothing in them can run as code."""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, astuple
from typing import Any, Final

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import (
    EngineRequest,
    EngineStats,
    Hypothesis,
    ModelInfo,
    NextToken,
    Pooling,
    Scoring,
    TokenLogprobs,
    TokenOutput,
)
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

_NUM_FIELDS: Final = 9  # of an output that is no result of a beam search


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
                request.scoring and astuple(request.scoring),
                request.pooling and astuple(request.pooling),
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
    fields = [
        output.request_id,
        output.token_ids,
        _logprobs_fields(output.logprobs),
        output.finish_reason,
        output.error,
        output.num_cached_tokens,
    ]
    if output.prompt_logprobs is not None or output.pooled is not None:
        fields += [_logprobs_fields(output.prompt_logprobs), _next_token_fields(output.next_token)]
    if output.pooled is not None:
        fields.append(base64.b64encode(output.pooled).decode("ascii"))
    if output.hypotheses is not None:
        fields += [None] * (_NUM_FIELDS - len(fields))
        fields.append([_hypothesis_fields(each) for each in output.hypotheses])
    return fields


def _hypothesis_fields(hypothesis: Hypothesis) -> list[Any]:
    logprobs = _logprobs_fields(hypothesis.logprobs)
    return [hypothesis.token_ids, hypothesis.score, hypothesis.finish_reason, logprobs]


def _logprobs_fields(logprobs: tuple[TokenLogprobs, ...] | None) -> list[Any] | None:
    return None if logprobs is None else [[each.logprob, each.top] for each in logprobs]


def _next_token_fields(next_token: NextToken | None) -> list[Any] | None:
    if next_token is None:
        return None
    distribution = next_token.distribution
    text = None if distribution is None else base64.b64encode(distribution).decode("ascii")
    return [next_token.top, next_token.entropy, next_token.log_normalizer, text]


def _outputs(outputs: list[list[Any]], stats: list[int]) -> Outputs:
    return Outputs(tuple(_output(*fields) for fields in outputs), EngineStats(*stats))


def _output(
    request_id: str,
    token_ids: list[int],
    logprobs: list[Any] | None,
    finish_reason: Any,
    error: str | None,
    cached: int,
    prompt_logprobs: list[Any] | None = None,
    next_token: list[Any] | None = None,
    pooled: str | None = None,
    hypotheses: list[Any] | None = None,
) -> TokenOutput:
    return TokenOutput(
        request_id,
        tuple(token_ids),
        _logprobs(logprobs),
        finish_reason,
        error,
        cached,
        _logprobs(prompt_logprobs),
        _next_token(next_token),
        None if pooled is None else base64.b64decode(pooled, validate=True),
        None if hypotheses is None else tuple(_hypothesis(*fields) for fields in hypotheses),
    )


def _hypothesis(token_ids: list[int], score: float, finish_reason: Any, logprobs: list[Any] | None) -> Hypothesis:
    return Hypothesis(tuple(token_ids), score, finish_reason, _logprobs(logprobs))


def _logprobs(fields: list[Any] | None) -> tuple[TokenLogprobs, ...] | None:
    if fields is None:
        return None
    return tuple(TokenLogprobs(logprob, tuple((i, value) for i, value in top)) for logprob, top in fields)


def _next_token(fields: list[Any] | None) -> NextToken | None:
    if fields is None:
        return None
    top, entropy, log_normalizer, text = fields
    distribution = None if text is None else base64.b64decode(text, validate=True)
    return NextToken(tuple((i, value) for i, value in top), entropy, log_normalizer, distribution)


def _submit(
    request_id: str,
    prompt_token_ids: list[int],
    params: dict[str, Any],
    owner: str,
    num_reply_tokens: int,
    scoring: list[Any] | None,
    pooling: list[Any] | None,
) -> Submit:
    params["logit_bias"] = tuple((token_id, bias) for token_id, bias in params["logit_bias"])
    params["stop_token_ids"] = tuple(params["stop_token_ids"])
    sampling = SamplingParams(**params)
    wanted = None if scoring is None else Scoring(*scoring)
    pooled = None if pooling is None else Pooling(*pooling)
    return Submit(EngineRequest(request_id, tuple(prompt_token_ids), sampling, owner, num_reply_tokens, wanted, pooled))


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
