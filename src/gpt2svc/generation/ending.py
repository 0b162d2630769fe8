"""How a generation ends: in exactly one of four ways, with a code where it did not end well."""

from dataclasses import dataclass
from typing import Final, Literal

from gpt2svc.engine.types import FinishReason, TokenOutput


@dataclass(frozen=True, slots=True)
class Ending:
    status: Literal["completed", "cancelled", "interrupted", "failed"]
    finish_reason: FinishReason
    code: str | None = None
    message: str | None = None


CANCELLED: Final = Ending("cancelled", "abort")
SERVER_STOPPED: Final = Ending(
    "interrupted", "error", "server_stopped", "The service was stopped before the reply was complete."
)
_DEADLINE_CODE: Final = "deadline_exceeded"


def deadline_ending(*, is_started: bool) -> Ending:
    """Of a reply whose client waits no longer (X-Request-Timeout): what there is of it is kept."""
    if is_started:
        message = "The time that the request gave the reply (X-Request-Timeout) was over before it was complete."
        return Ending("interrupted", "abort", _DEADLINE_CODE, message)
    message = "The time that the request gave the reply (X-Request-Timeout) was over before it was its turn."
    return Ending("failed", "abort", _DEADLINE_CODE, message)


def ending_of_output(output: TokenOutput) -> Ending:
    """What the engine's last output says."""
    if output.finish_reason == "stop" or output.finish_reason == "length":
        return Ending("completed", output.finish_reason)
    if output.finish_reason == "error":
        return Ending("failed", "error", "engine_error", output.error or "The engine could not go on with this reply.")
    return Ending("interrupted", "error", "aborted", "The engine gave up this reply.")
