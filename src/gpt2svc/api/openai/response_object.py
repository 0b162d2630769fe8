"""The response object, at any point of its life."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpt2svc.generation.events import Done, Failed, Token
from gpt2svc.persistence.records import InputItem
from gpt2svc.responses.head import ResponseHead

Terminal = Done | Failed


class ResponseText:
    """The one output item as far as it is known."""

    def __init__(self, head: ResponseHead) -> None:
        self._head = head
        self._text: list[str] = []
        self._logprobs: list[dict[str, Any]] = []

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def logprobs(self) -> list[dict[str, Any]]:
        return list(self._logprobs)

    def add(self, token: Token) -> list[dict[str, Any]]:
        """The token's log-probability, where there is one."""
        self._text.append(token.text)
        new = [logprob_of(token)] if token.logprobs is not None else []
        self._logprobs += new
        return new

    def part(self) -> dict[str, Any]:
        return {"type": "output_text", "annotations": [], "logprobs": self.logprobs, "text": self.text}

    def item(self, status: str, content: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._head.message_id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": list(content),
        }


def logprob_of(token: Token) -> dict[str, Any]:
    """A token that is part of a character has its text with the character's last one. White space that the reply lost
    at its beginning is there, so that clients find the token among the likeliest.
    """
    kept = token.logprobs or {}
    likeliest = kept.get("top_logprobs", ())
    own = next((entry["text"] for entry in likeliest if entry["token_id"] == token.token_id), token.text)
    text = own if own.lstrip() == token.text else token.text
    top = [_entry(entry["text"], entry["logprob"]) for entry in likeliest]
    return {**_entry(text, kept["logprob"]), "top_logprobs": top}


def _entry(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "bytes": list(text.encode()), "logprob": logprob}


def status_of(terminal: Terminal) -> str:
    """A reply that was cut off by no wish of its client's is a failed one, with an error that says why."""
    if isinstance(terminal, Failed):
        return "failed"
    if terminal.status == "cancelled":
        return "cancelled"
    return "incomplete" if terminal.finish_reason == "length" else "completed"


def item_status_of(terminal: Terminal) -> str:
    return "completed" if status_of(terminal) == "completed" else "incomplete"


def response_object(
    head: ResponseHead, status: str, output: Sequence[Mapping[str, Any]], terminal: Terminal | None = None
) -> dict[str, Any]:
    created_at = int(head.created_at.timestamp())
    request = head.request
    completed_at = None
    if isinstance(terminal, Done) and status == "completed":
        completed_at = int(head.created_at.timestamp() + terminal.timings.get("total", 0.0))
    return {
        "id": head.id,
        "object": "response",
        "created_at": created_at,
        "completed_at": completed_at,
        "status": status,
        "background": request["background"],
        "store": head.is_stored,
        "error": {"code": terminal.code, "message": terminal.message} if isinstance(terminal, Failed) else None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": request["instructions"],
        "max_output_tokens": request["max_output_tokens"],
        "model": head.model,
        "output": list(output),
        "parallel_tool_calls": request["parallel_tool_calls"],
        "previous_response_id": head.previous_response_id,
        "prompt_cache_key": request["prompt_cache_key"],
        "reasoning": None,
        "safety_identifier": request["safety_identifier"],
        "service_tier": "default",
        "temperature": head.settings["temperature"],
        "text": {"format": {"type": "text"}},
        "tool_choice": request["tool_choice"],
        "tools": [],
        "top_logprobs": request["top_logprobs"],
        "top_p": head.settings["top_p"],
        "truncation": request["truncation"],
        "usage": _usage(terminal.usage) if terminal is not None and terminal.usage else None,
        "user": request["user"],
        "metadata": request["metadata"],
        "system_fingerprint": f"fp_{head.model_revision}",
        "seed": head.seed,
        "dropped_messages": head.num_dropped,
    }


def input_item(item: InputItem) -> dict[str, Any]:
    is_reply = item.role == "assistant"
    part: dict[str, Any] = {"type": "output_text" if is_reply else "input_text", "text": item.content}
    if is_reply:
        part["annotations"] = []
    return {"id": item.id, "type": "message", "status": "completed", "role": item.role, "content": [part]}


def _usage(usage: Mapping[str, int]) -> dict[str, Any]:
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": usage["cached_tokens"], "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }
