from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from gpt2svc.api.openapi import describe
from gpt2svc.api.routes import pages
from gpt2svc.app import OPEN_PATHS
from tests.api.conftest import client_of, new_conversation

KEY = "a-key-of-some-length-1"
MakeApp = Callable[..., FastAPI]


def all_routes(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and path that the app answers: those on the OpenAPI page, and the pages themselves."""
    documented = [
        (method.upper(), path)
        for path, item in describe(app)["paths"].items()
        for method in item
        if method in ("get", "post", "patch", "put", "delete")
    ]
    undocumented = [
        (method, route.path) for route in pages.router.routes if isinstance(route, APIRoute) for method in route.methods
    ]
    return documented + undocumented


async def test_with_a_key_every_route_but_the_named_ones_needs_it(make_app: MakeApp) -> None:
    app = make_app(api_key=KEY)
    routes = all_routes(app)
    assert len(routes) > 15
    async with app.router.lifespan_context(app), client_of(app) as client:
        for method, path in [*routes, ("GET", "/no/such/path"), ("GET", "/livez/"), ("GET", "/Livez")]:
            template = path.replace(":path}", "}")
            concrete = template.format(
                name="docs.js",
                path="js/x.js",
                conversation_id="c",
                message_id="m",
                generation_id="g",
                response_id="r",
                model_id="o",
            )
            response = await client.request(method, concrete)
            assert (response.status_code == 401) is (concrete not in OPEN_PATHS), (method, path)
            if response.status_code == 401:
                assert method == "HEAD" or response.json()["error"]["code"] == "invalid_api_key"
                assert response.headers["www-authenticate"] == "Bearer"
    assert {path for path in OPEN_PATHS if not path.startswith("/docs")} == {"/", "/livez", "/readyz", "/openapi.json"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": f"bearer {KEY}"}, 200),
        ({"X-API-Key": KEY}, 200),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": KEY}, 401),
        ({"Authorization": f"Bearer {KEY}x"}, 401),
        ({"Authorization": f"Bearer {KEY[:-1]}"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": b"\xff\xfe"}, 401),
        ({"Authorization": "Bearer wrong", "X-API-Key": KEY}, 401),
    ],
)
async def test_key_is_taken_from_either_header_and_compared_whole(
    make_app: MakeApp, headers: dict[str, str], status: int
) -> None:
    app = make_app(api_key=KEY)
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert (await client.get("/api/health", headers=headers)).status_code == status


async def test_key_is_shown_nowhere(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(api_key=KEY)
    caplog.set_level("DEBUG")
    async with app.router.lifespan_context(app), client_of(app) as client:
        headers = {"X-API-Key": KEY}
        bodies = [
            (await client.get(p, headers=headers)).text for p in ("/api/health", "/readyz", "/openapi.json", "/x")
        ]
    assert not any(KEY in text for text in [*bodies, caplog.text])


async def test_crafted_host_and_path_open_nothing(make_app: MakeApp) -> None:
    app = make_app(api_key=KEY, host="0.0.0.0")
    async with app.router.lifespan_context(app), client_of(app) as client:
        for path, host in (
            ("/api/health", "x/livez?"),
            ("/api/health", "x/docs#"),
            ("/api/health?/livez", "localhost"),
        ):
            assert (await client.get(path, headers={"Host": host})).status_code in (401, 421)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("[::1]:8000", 200),
        ("chat.example", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil.example:8000", 421),
        ("localhost@evil.example", 421),
        ("evil.example/localhost", 421),
        ("", 421),
        ("[::1", 421),
        ("localhost:99999", 421),
    ],
)
async def test_on_loopback_only_own_host_names_are_answered(make_app: MakeApp, host: str, status: int) -> None:
    app = make_app(allowed_hosts=("chat.example",))
    async with app.router.lifespan_context(app), client_of(app) as client:
        for path in ("/livez", "/docs", "/api/health"):
            assert (await client.get(path, headers={"Host": host})).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Origin": "http://127.0.0.1:8000"}, 201),
        ({"Origin": "http://chat.example"}, 201),
        ({"Origin": "https://chat.example"}, 201),
        ({"Origin": "http://127.0.0.1:3000"}, 403),
        ({"Origin": "http://localhost:8000"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "file://"}, 403),
        ({"Origin": "chrome-extension://abc"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
    ],
)
async def test_pages_of_other_origins_create_nothing(make_app: MakeApp, headers: dict[str, str], status: int) -> None:
    app = make_app(allowed_hosts=("chat.example",))
    async with app.router.lifespan_context(app), client_of(app) as client:
        response = await client.post("/api/conversations", json={}, headers=headers)
        assert response.status_code == status
        assert len((await client.get("/api/conversations")).json()["data"]) == (status == 201)


async def test_page_behind_a_proxy_that_ends_tls_is_of_the_same_origin(make_app: MakeApp) -> None:
    app = make_app(api_key=KEY, host="0.0.0.0")
    headers = {"Host": "chat.example", "Origin": "https://chat.example", "X-API-Key": KEY}
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert (await client.post("/api/conversations", json={}, headers=headers)).status_code == 201


async def test_every_response_carries_security_headers_and_a_request_id(client: httpx.AsyncClient) -> None:
    conversation = await new_conversation(client)
    url = f"/api/conversations/{conversation}/messages"
    responses = [
        await client.get("/livez"),
        await client.get("/no"),
        await client.get("/livez", headers={"Host": "evil.example"}),
        await client.get("/docs"),
        await client.post(url, json={"content": "Hi", "stream": True}),
        await client.post(url, json={}),
        await client.delete(f"/api/conversations/{conversation}"),
    ]
    for response in responses:
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-request-id"]
    assert len({response.headers["x-request-id"] for response in responses}) == len(responses)


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [("abc-123_x.y", True), ("x" * 65, False), ("a b", False), ("a\x1b", False), ("", False)],
)
async def test_request_id_of_a_proxy_is_kept_where_it_is_harmless(
    client: httpx.AsyncClient, given: str, is_kept: bool
) -> None:
    response = await client.get("/livez", headers={"x-request-id": given})
    assert (response.headers["x-request-id"] == given) is is_kept
