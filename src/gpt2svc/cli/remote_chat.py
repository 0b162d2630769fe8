"""`gpt2svc chat --url`: a conversation held by a running service, over HTTP and server-sent events."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gpt2svc.cli.event_stream import ServerEvent, read_events
from gpt2svc.errors import EngineError, InvalidInputError, UnavailableError

if TYPE_CHECKING:
    import httpx

MAX_RESUMES = 5
READ_TIMEOUT_S = 60.0  # the service sends a comment every 15 seconds on a silent stream


class RemoteChat:
    """One conversation at a time. `client` has the service's base URL and, where it asks for one, its key."""

    def __init__(self, client: "httpx.Client", *, model: str | None = None) -> None:
        self._client = client
        self._model = model
        self._conversation_id: str | None = None
        self._generation_id: str | None = None
        self.ending = ""

    def start(self) -> str:
        """Check that the service answers. Returns the model's name. Raises UnavailableError where it does not."""
        health = self._request("GET", "/api/health")
        return self._model or str(health.get("model", "?"))

    def new(self) -> None:
        self._conversation_id = None

    def reply(self, content: str, settings: Mapping[str, Any]) -> Iterator[str]:
        """The pieces of the reply to `content`. Afterwards `ending` says for people how it ended, "" if normally.

        A connection that breaks is taken up again after the last token seen. Raises Gpt2svcError's subclasses.
        """
        self.ending = ""
        self._generation_id = None
        path = f"/api/conversations/{self._conversation()}/messages"
        body = {"content": content, "settings": dict(settings), "stream": True}
        last_seq = 0
        for attempt in range(MAX_RESUMES + 1):
            try:
                for event in self._events(path, body if attempt == 0 else None):
                    if event.name == "queued":
                        self._generation_id = str(event.data["generation_id"])
                    elif event.name == "token":
                        last_seq = int(event.id or last_seq)
                        yield str(event.data["text"])
                    elif event.name in ("done", "error"):
                        self.ending = _ending(event)
                        return
            except ConnectionError as error:
                if self._generation_id is None or attempt == MAX_RESUMES:
                    raise UnavailableError(f"The connection was lost: {error}.") from error
            path = f"/api/generations/{self._generation_id}/events?starting_after={last_seq}"

    def stop(self) -> None:
        """Cancel the reply in progress; what it has said so far stays in the conversation."""
        if self._generation_id is not None:
            self._request("POST", f"/api/generations/{self._generation_id}/cancel")

    def _conversation(self) -> str:
        if self._conversation_id is None:
            body = {"model": self._model} if self._model else {}
            self._conversation_id = str(self._request("POST", "/api/conversations", json=body)["id"])
        return self._conversation_id

    def _events(self, path: str, body: Mapping[str, Any] | None) -> Iterator[ServerEvent]:
        """Raises ConnectionError when the stream breaks off before its last event."""
        import httpx

        try:
            with self._client.stream(
                "GET" if body is None else "POST",
                path,
                json=body,
                headers={"Accept": "text/event-stream"},
                timeout=httpx.Timeout(10.0, read=READ_TIMEOUT_S),
            ) as response:
                if response.is_error:
                    response.read()
                    raise _error(response)
                yield from read_events(response.iter_bytes())
        except httpx.TransportError as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    def _request(self, method: str, path: str, **arguments: Any) -> Mapping[str, Any]:
        import httpx

        try:
            response = self._client.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise UnavailableError(
                f"No answer from {self._client.base_url} ({error}). Is the service running there?"
            ) from error
        if response.is_error:
            raise _error(response)
        return _object(response)


def _ending(event: ServerEvent) -> str:
    if event.name == "error":
        return f"{event.data.get('status', 'failed')}: {event.data.get('message', 'no reason was given')}"
    if event.data.get("status") == "cancelled":
        return "stopped"
    return "cut at max_new_tokens" if event.data.get("finish_reason") == "length" else ""


def _error(response: "httpx.Response") -> InvalidInputError | EngineError:
    """What the service said of the request, in its own words."""
    body = _object(response)
    told = body.get("error", body)
    text = told.get("message") if isinstance(told, Mapping) else None
    line = f"{text or response.text[:200] or response.reason_phrase} (HTTP {response.status_code})"
    return EngineError(line) if response.is_server_error else InvalidInputError(line)


def _object(response: "httpx.Response") -> Mapping[str, Any]:
    try:
        value = response.json()
    except ValueError:
        return {}
    return value if isinstance(value, Mapping) else {}
