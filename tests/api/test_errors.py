import httpx
import pytest
from fastapi import FastAPI

from gpt2svc.api.errors import install_error_handlers, printable
from gpt2svc.api.middleware.request_id import RequestIdMiddleware
from gpt2svc.errors import (
    ConfigError,
    ContextWindowError,
    ConversationBusyError,
    EngineError,
    Gpt2svcError,
    IdempotencyMismatchError,
    InvalidInputError,
    ModelDownloadError,
    ModelFormatError,
    NotFoundError,
    OverloadedError,
    StorageError,
    StorageFullError,
    UnavailableError,
    UnsafeModelError,
    WorkerCrashedError,
)


def app_that_raises(error: Exception) -> FastAPI:
    app = FastAPI()
    app.add_middleware(RequestIdMiddleware)
    install_error_handlers(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    return app


async def answer_to(error: Exception) -> httpx.Response:
    transport = httpx.ASGITransport(app_that_raises(error))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidInputError("No.", field="title"), 422, "invalid_request_error"),
        (ContextWindowError("No.", num_tokens=9, max_tokens=8, field="content"), 422, "invalid_request_error"),
        (IdempotencyMismatchError("No."), 422, "invalid_request_error"),
        (NotFoundError("message", "msg_1"), 404, "not_found_error"),
        (ConversationBusyError("conv_1", "gen_1"), 409, "conflict_error"),
        (OverloadedError("No.", retry_after_s=2.1), 429, "rate_limit_error"),
        (UnavailableError("No."), 503, "unavailable_error"),
        (ModelDownloadError("No."), 503, "unavailable_error"),
        (ModelFormatError("No."), 422, "invalid_request_error"),
        (UnsafeModelError("No."), 422, "invalid_request_error"),
        (StorageError("No."), 503, "unavailable_error"),
        (StorageFullError("No."), 507, "server_error"),
        (EngineError("No."), 500, "server_error"),
        (WorkerCrashedError("No."), 500, "server_error"),
        (ConfigError("No."), 500, "server_error"),
        (Gpt2svcError("No."), 500, "server_error"),
    ],
)
async def test_each_domain_error_has_its_status_in_the_envelope(error: Gpt2svcError, status: int, kind: str) -> None:
    response = await answer_to(error)
    body = response.json()
    assert (response.status_code, body["error"]["type"], body["error"]["code"]) == (status, kind, error.code)
    assert body["error"]["param"] == error.field
    assert body.keys() == {"error"}
    assert (body["error"]["message"] == error.message) is (status != 500)


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (OverloadedError("No.", retry_after_s=2.1), {"retry-after": "3"}),
        (UnavailableError("No.", retry_after_s=0.01), {"retry-after": "1"}),
        (ConversationBusyError("conv_1", "gen_1"), {"x-should-retry": "false"}),
    ],
)
async def test_headers_say_whether_to_come_back(error: Gpt2svcError, headers: dict[str, str]) -> None:
    response = await answer_to(error)
    assert headers.items() <= dict(response.headers).items()


async def test_unavailable_for_good_names_no_time() -> None:
    assert "retry-after" not in (await answer_to(UnavailableError("No."))).headers


async def test_unforeseen_error_is_500_that_names_the_request_and_nothing_else() -> None:
    response = await answer_to(RuntimeError("password=hunter2"))
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert response.headers["x-request-id"] in response.json()["error"]["message"]
    assert "hunter2" not in response.text


async def test_message_with_anything_in_it_can_be_sent() -> None:
    response = await answer_to(InvalidInputError("a\ud800\x00\u2028\n" + "b" * 10_000, field="\udfff" * 500))
    assert response.status_code == 422
    assert len(response.content) < 4000
    assert "\ufffd\ufffd\ufffd\ufffd" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/no/such/path", 404, "not_found"), ("PUT", "/livez", 405, "method_not_allowed")],
)
async def test_unknown_paths_and_methods_have_the_envelope_too(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers["x-request-id"].startswith("req_")


async def test_405_names_every_method_of_the_path(client: httpx.AsyncClient) -> None:
    for path, methods in (
        ("/api/conversations", "GET, POST"),
        ("/api/conversations/x", "DELETE, GET, PATCH"),
        ("/livez", "GET, HEAD"),
        ("/docs", "GET, HEAD"),
    ):
        assert (await client.put(path)).headers["allow"] == methods


def test_printable_cuts_and_replaces() -> None:
    assert printable("Їжак 🦔", 100) == "Їжак 🦔"
    assert printable("a\x1b[2J", 100) == "a\ufffd[2J"
    assert printable("abcdef", 4) == "abc…"
