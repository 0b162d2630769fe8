"""A response as one object: once it has ended, or as far as it is."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from gpt2svc.api.openai.response_events import ResponseEvents
from gpt2svc.api.openai.response_object import ResponseText, item_status_of, response_object, status_of
from gpt2svc.generation.events import Event, Token, terminal_event
from gpt2svc.persistence.records import ACTIVE_STATUSES
from gpt2svc.responses.head import ResponseHead
from gpt2svc.responses.stored import StoredResponse


async def whole_response(head: ResponseHead, events: AsyncIterator[Event]) -> dict[str, Any]:
    """What the last event of its stream carries."""
    response: dict[str, Any] = {}
    async with aclosing(cast(AsyncGenerator[Event, None], events)) as open_events:
        async for event in ResponseEvents(head).of(open_events):
            response = event.get("response", response)
    return response


def snapshot(stored: StoredResponse) -> dict[str, Any]:
    """With the text that is stored so far."""
    head, generation = stored.head, stored.generation
    text = ResponseText(head)
    for token in stored.tokens:
        text.add(Token.from_record(token))
    is_begun = generation.started_at is not None or bool(stored.tokens)
    if generation.status in ACTIVE_STATUSES:
        status = "in_progress" if is_begun or not head.request["background"] else "queued"
        output = [text.item("in_progress", (text.part(),))] if is_begun else []
        return response_object(head, status, output)
    terminal = terminal_event(generation)
    output = [text.item(item_status_of(terminal), (text.part(),))] if is_begun else []
    return response_object(head, status_of(terminal), output, terminal)
