"""The events of a response, in OpenAI's order and with its numbers.

The numbers follow from the generation's log alone, so they are the same live, afterwards and after a restart:

    0    response.created
    1    response.queued (in the background) or response.in_progress
    2    response.in_progress (in the background; the model has begun)
         response.output_item.added, response.content_part.added
         response.output_text.delta, one for each token
         response.output_text.done, response.content_part.done, response.output_item.done
         response.completed, response.incomplete (too long, or cancelled) or response.failed

A reply that ended before its first token has neither item nor part.
"""

from collections.abc import AsyncIterator
from typing import Any

from gpt2svc.api.openai.response_object import ResponseText, Terminal, item_status_of, response_object, status_of
from gpt2svc.generation.events import Event, Failed, Queued, Started, Token
from gpt2svc.responses.head import ResponseHead

_TERMINAL_EVENTS = {"completed": "response.completed", "failed": "response.failed"}


class ResponseEvents:
    """Of one response, for one reader, who has seen all up to the number `after`."""

    def __init__(self, head: ResponseHead, *, after: int | None = None) -> None:
        self._head = head
        self._after = -1 if after is None else after
        self._next_number = 0
        self._text = ResponseText(head)
        self._is_open = False  # the item and its part are there

    async def of(self, events: AsyncIterator[Event]) -> AsyncIterator[dict[str, Any]]:
        """`events` from the first on; what the reader has seen of them is not sent again."""
        for event in self._begin():
            yield event
        async for source in events:
            for event in self._next(source):
                yield event

    def error(self, code: str, message: str) -> dict[str, Any]:
        """For what breaks the stream itself."""
        number = max(self._next_number, self._after + 1)
        return {"type": "error", "sequence_number": number, "code": code, "message": message, "param": None}

    def _next(self, source: Event) -> list[dict[str, Any]]:
        match source:
            case Queued():
                return []
            case Started():
                return self._start()
            case Token():
                logprobs = [_without_bytes(entry) for entry in self._text.add(source)]
                return self._event("response.output_text.delta", **self._place, delta=source.text, logprobs=logprobs)
            case _:
                return self._end(source)

    def _begin(self) -> list[dict[str, Any]]:
        is_background = self._head.request["background"]
        status = "queued" if is_background else "in_progress"
        response = response_object(self._head, status, ())
        return [
            *self._event("response.created", response=response),
            *self._event(f"response.{status}", response=response),
        ]

    def _start(self) -> list[dict[str, Any]]:
        events = []
        if self._head.request["background"]:
            response = response_object(self._head, "in_progress", ())
            events += self._event("response.in_progress", response=response)
        self._is_open = True
        item = self._text.item("in_progress", ())
        return [
            *events,
            *self._event("response.output_item.added", output_index=0, item=item),
            *self._event("response.content_part.added", **self._place, part=self._text.part()),
        ]

    def _end(self, terminal: Terminal) -> list[dict[str, Any]]:
        events = []
        output = []
        if self._is_open:
            part = self._text.part()
            item = self._text.item(item_status_of(terminal), (part,))
            output = [item]
            logprobs = [_without_bytes(entry) for entry in part["logprobs"]]
            events += self._event("response.output_text.done", **self._place, text=part["text"], logprobs=logprobs)
            events += self._event("response.content_part.done", **self._place, part=part)
            events += self._event("response.output_item.done", output_index=0, item=item)
        status = status_of(terminal)
        if isinstance(terminal, Failed):
            # NOTE: a crash may have taken tokens away which this reader has seen: the end still has to reach it.
            self._next_number = max(self._next_number, self._after + 1)
        response = response_object(self._head, status, output, terminal)
        return events + self._event(_TERMINAL_EVENTS.get(status, "response.incomplete"), response=response)

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._head.message_id, "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """None of it where the reader has it."""
        number = self._next_number
        self._next_number += 1
        return [{"type": kind, "sequence_number": number, **fields}] if number > self._after else []


def _without_bytes(entry: dict[str, Any]) -> dict[str, Any]:
    """As events have it."""
    top = [{"token": other["token"], "logprob": other["logprob"]} for other in entry["top_logprobs"]]
    return {"token": entry["token"], "logprob": entry["logprob"], "top_logprobs": top}
