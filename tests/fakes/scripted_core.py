"""An EngineCore without a model, for what drives one by hand: each request gets the tokens that a test says."""

from collections.abc import Sequence

from gpt2svc.engine.types import EngineRequest, FinishReason, TokenLogprobs, TokenOutput


class ScriptedCore:
    """One token a step for every request: `script` in order, then its stop token, or "length" at max_new_tokens.

    `requests` and `aborted` tell what happened; `fail_after` makes the step after so many tokens end in an error.
    """

    def __init__(self, script: Sequence[int], *, fail_after: int | None = None) -> None:
        self.script = list(script)
        self.fail_after = fail_after
        self.requests: list[EngineRequest] = []
        self.aborted: list[str] = []
        self._positions: dict[str, int] = {}

    @property
    def has_work(self) -> bool:
        return bool(self._positions)

    def add_request(self, request: EngineRequest) -> None:
        self.requests.append(request)
        self._positions[request.request_id] = 0

    def abort(self, request_id: str) -> None:
        if self._positions.pop(request_id, None) is not None:
            self.aborted.append(request_id)

    def step(self) -> list[TokenOutput]:
        outputs = [self._output(request_id) for request_id in list(self._positions)]
        for output in outputs:
            if output.finish_reason is not None:
                del self._positions[output.request_id]
        return outputs

    def _output(self, request_id: str) -> TokenOutput:
        [request] = [request for request in self.requests if request.request_id == request_id]
        position = self._positions[request_id]
        if position == self.fail_after:
            return TokenOutput(request_id, finish_reason="error", error="out of memory")
        self._positions[request_id] = position + 1
        is_over = position >= len(self.script)
        token_id = request.params.stop_token_ids[0] if is_over else self.script[position]
        finish_reason: FinishReason | None = "stop" if is_over else None
        if not is_over and position + 1 == request.params.max_new_tokens:
            finish_reason = "length"
        logprobs = (TokenLogprobs(-0.5, ((token_id, -0.5),)),) if request.params.logprobs is not None else None
        return TokenOutput(request_id, (token_id,), logprobs, finish_reason)
