import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from gpt2svc.cli.remote_chat import RemoteChat
from gpt2svc.errors import EngineError, InvalidInputError, UnavailableError

REPLY = ["При", "віт", "! ", "🙂"]


def event(name: str, data: dict[str, object], event_id: int | None = None) -> bytes:
    head = f"event: {name}\n" + (f"id: {event_id}\n" if event_id is not None else "")
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def tokens(first: int, last: int) -> list[bytes]:
    return [event("token", {"text": REPLY[n - 1], "token_id": n}, n) for n in range(first, last + 1)]


QUEUED = event("queued", {"generation_id": "gen_1", "message_id": "msg_2"})
DONE = event("done", {"status": "completed", "finish_reason": "stop"}, len(REPLY) + 1)


class BreakingStream(httpx.SyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        raise httpx.ReadError("connection reset")


class Service:
    """Answers as the service does; `streams` are the answers to a message and to each resume after it."""

    def __init__(self, *streams: httpx.SyncByteStream | list[bytes]) -> None:
        self.streams = list(streams)
        self.calls: list[tuple[str, str, object]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        self.calls.append((request.method, request.url.raw_path.decode(), body))
        if request.url.path == "/api/conversations":
            return httpx.Response(201, json={"id": "conv_1"})
        if request.url.path.endswith("/cancel"):
            return httpx.Response(200, json={"id": "gen_1", "status": "cancelled"})
        stream = self.streams.pop(0)
        return httpx.Response(200, stream=stream if isinstance(stream, httpx.SyncByteStream) else as_stream(stream))


class as_stream(httpx.SyncByteStream):  # noqa: N801
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks


def chat(service: Callable[[httpx.Request], httpx.Response], model: str | None = None) -> RemoteChat:
    client = httpx.Client(transport=httpx.MockTransport(service), base_url="http://127.0.0.1:8000")
    return RemoteChat(client, model=model)


def test_a_reply_is_streamed_within_one_conversation() -> None:
    service = Service([QUEUED, *tokens(1, 4), DONE], [QUEUED, *tokens(1, 4), DONE])
    talk = chat(service, model="starter")
    assert "".join(talk.reply("Привіт", {"top_k": 5})) == "Привіт! 🙂"
    assert talk.ending == ""
    list(talk.reply("ще", {}))
    paths = [(method, path) for method, path, _ in service.calls]
    post = ("POST", "/api/conversations/conv_1/messages")
    assert paths == [("POST", "/api/conversations"), post, post]
    assert service.calls[0][2] == {"model": "starter"}
    assert service.calls[1][2] == {"content": "Привіт", "settings": {"top_k": 5}, "stream": True}


@pytest.mark.parametrize("num_seen", range(len(REPLY) + 1))
def test_a_broken_connection_is_taken_up_after_the_last_token(num_seen: int) -> None:
    service = Service(
        BreakingStream([QUEUED, *tokens(1, num_seen)]),
        [QUEUED, *tokens(num_seen + 1, len(REPLY)), DONE],
    )
    assert "".join(chat(service).reply("Привіт", {})) == "Привіт! 🙂"
    assert service.calls[-1][:2] == ("GET", f"/api/generations/gen_1/events?starting_after={num_seen}")


def test_a_connection_that_breaks_before_the_message_was_accepted_is_not_sent_again() -> None:
    service = Service(BreakingStream([]))
    with pytest.raises(UnavailableError, match="connection was lost"):
        list(chat(service).reply("Привіт", {}))
    assert len(service.calls) == 2


@pytest.mark.parametrize(
    ("last", "ending"),
    [
        (event("done", {"status": "completed", "finish_reason": "length"}, 5), "cut at max_new_tokens"),
        (event("done", {"status": "cancelled", "finish_reason": "abort"}, 5), "stopped"),
        (event("error", {"status": "interrupted", "message": "The worker died."}, 5), "interrupted: The worker died."),
    ],
)
def test_how_a_reply_ended_is_told(last: bytes, ending: str) -> None:
    talk = chat(Service([QUEUED, *tokens(1, 2), last]))
    assert "".join(talk.reply("hi", {})) == "Привіт"
    assert talk.ending == ending


def test_stop_cancels_the_reply_in_progress() -> None:
    service = Service([QUEUED, *tokens(1, 4), DONE])
    talk = chat(service)
    pieces = talk.reply("hi", {})
    next(pieces)
    talk.stop()
    assert service.calls[-1][:2] == ("POST", "/api/generations/gen_1/cancel")


def test_what_the_service_says_of_a_bad_request_is_told() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"error": {"code": "invalid_input", "message": "content must not be empty."}})

    with pytest.raises(InvalidInputError, match="content must not be empty"):
        list(chat(refuse).reply("hi", {}))


def test_a_broken_service_is_not_the_users_fault() -> None:
    with pytest.raises(EngineError, match="HTTP 500"):
        list(chat(lambda request: httpx.Response(500, text="oops")).reply("hi", {}))


def test_no_service_at_the_url_says_so() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:8000.*running"):
        chat(refuse).start()
