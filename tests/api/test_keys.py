"""Several keys: each sees its own, nobody another's, and a change by another process counts at once."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gpt2svc.api.openapi import describe
from gpt2svc.api.services import Services
from gpt2svc.app import ADMIN_PATHS, services_of_app
from gpt2svc.persistence.key_secret import new_secret, secret_digest
from gpt2svc.persistence.records import Scope
from tests.api.conftest import client_of
from tests.api.test_middleware import all_routes
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine

MakeApp = Callable[..., FastAPI]
CONFIGURED = "a-key-of-some-length-1"


@dataclass(frozen=True)
class Key:
    id: str
    headers: dict[str, str]


async def new_key(services: Services, *scopes: Scope) -> Key:
    secret = new_secret()
    digest = secret_digest(secret)
    record = await services.database.write(
        lambda uow: uow.api_keys.create(name="test", scopes=scopes or ("chat",), secret_hash=digest)
    )
    return Key(record.id, {"X-API-Key": secret})


async def revoke(services: Services, key: Key) -> None:
    await services.database.write(lambda uow: uow.api_keys.revoke(key.id))


async def settled(client: httpx.AsyncClient, key: Key, status: int) -> None:
    """Until the service has heard of the change: a tenth of a second at most."""

    async def has_heard() -> bool:
        # While no key is known to it, the service lets everyone in: then a 200 says nothing of this key.
        if key.headers and status == 200 and (await client.get("/api/health")).status_code != 401:
            return False
        return (await client.get("/api/health", headers=key.headers)).status_code == status

    await until(has_heard)


@pytest.fixture
async def keyed(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


async def test_the_first_key_closes_a_service_that_was_open(keyed: httpx.AsyncClient, services: Services) -> None:
    assert (await keyed.get("/api/health")).status_code == 200
    key = await new_key(services)
    await settled(keyed, Key("", {}), 401)
    assert (await keyed.get("/api/health", headers=key.headers)).status_code == 200
    assert (await keyed.get("/livez")).status_code == 200


async def test_a_revoked_key_opens_nothing_and_leaves_the_service_closed(
    keyed: httpx.AsyncClient, services: Services
) -> None:
    key = await new_key(services)
    await settled(keyed, key, 200)
    await revoke(services, key)
    await settled(keyed, key, 401)
    assert (await keyed.get("/api/health")).status_code == 401
    await services.database.write(lambda uow: uow.api_keys.delete(key.id))
    await settled(keyed, Key("", {}), 200)


async def test_beyond_loopback_nothing_is_ever_open(make_app: MakeApp) -> None:
    app = make_app(host="0.0.0.0")
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert (await client.get("/api/health")).status_code == 401
        key = await new_key(services_of_app(app))
        await settled(client, key, 200)


async def test_every_route_but_the_named_ones_needs_a_stored_key_too(
    keyed: httpx.AsyncClient, app: FastAPI, services: Services
) -> None:
    await new_key(services)
    await settled(keyed, Key("", {}), 401)
    for method, path in all_routes(app):
        concrete = path.replace("{", "").replace("}", "")
        response = await keyed.request(method, concrete, headers={"X-API-Key": new_secret()})
        if response.status_code != 401:
            assert path in ("/", "/livez", "/readyz", "/docs", "/openapi.json") or method == "GET", path
            assert not path.startswith(("/api", "/v1", "/metrics"))


async def test_scopes_say_what_a_key_is_for(make_app: MakeApp) -> None:
    app = make_app(api_key=CONFIGURED)
    services = services_of_app(app)
    async with app.router.lifespan_context(app), client_of(app) as client:
        chat, admin = await new_key(services, "chat"), await new_key(services, "admin")
        both = await new_key(services, "chat", "admin")
        await settled(client, both, 200)
        configured = Key("", {"Authorization": f"Bearer {CONFIGURED}"})
        for path in ADMIN_PATHS:
            for key, status in ((chat, 403), (admin, 200), (both, 200), (configured, 200)):
                assert (await client.get(path, headers=key.headers)).status_code == status
        for key, status in ((chat, 200), (admin, 403), (both, 200), (configured, 200)):
            response = await client.get("/api/conversations", headers=key.headers)
            assert response.status_code == status
            if status == 403:
                assert response.json()["error"]["code"] == "insufficient_scope"
            assert (await client.get("/api/health", headers=key.headers)).status_code == 200


async def test_replies_and_cached_prefixes_belong_to_the_key(
    keyed: httpx.AsyncClient, services: Services, engine: ScriptedEngine
) -> None:
    one, other = await new_key(services), await new_key(services)
    await settled(keyed, other, 200)
    for key in (one, other):
        conversation = (await keyed.post("/api/conversations", json={}, headers=key.headers)).json()["id"]
        url = f"/api/conversations/{conversation}/messages"
        reply = await keyed.post(url, json={"content": "Hi"}, headers=key.headers)
        assert reply.status_code == 201
        listed = (await keyed.get("/api/conversations", headers=key.headers)).json()["data"]
        assert [entry["id"] for entry in listed] == [conversation]
    assert [request.owner for request in engine.requests] == [one.id, other.id]


OWNED = {"conversation_id", "message_id", "generation_id", "response_id"}
NOT_OWNED = {"name", "model", "model_id", "path"}  # models, and files of the page


async def test_an_id_of_another_key_is_not_found_on_any_route(
    keyed: httpx.AsyncClient, app: FastAPI, services: Services, engine: ScriptedEngine
) -> None:
    one, other = await new_key(services), await new_key(services)
    await settled(keyed, other, 200)
    conversation = (await keyed.post("/api/conversations", json={}, headers=one.headers)).json()["id"]
    url = f"/api/conversations/{conversation}/messages"
    reply = (await keyed.post(url, json={"content": "Hi"}, headers=one.headers)).json()
    stored = (await keyed.post("/v1/responses", json={"input": "Hi"}, headers=one.headers)).json()
    real = {
        "response_id": stored["id"],
        "conversation_id": conversation,
        "message_id": reply["id"],
        "generation_id": reply["generation_id"],
    }
    unknown = {name: value[:-26] + "0" * 26 for name, value in real.items()}
    num_tried = 0
    for path, item in describe(app)["paths"].items():
        for method, operation in item.items():
            names = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"} & OWNED
            if not names:
                continue
            num_tried += 1
            body = _example(operation)
            answers = []
            for ids in (real, unknown):
                response = await keyed.request(method, path.format(**ids), json=body, headers=other.headers)
                text = response.text
                for name in names:
                    text = text.replace(ids[name], name)
                answers.append((response.status_code, text))
            assert answers[0] == answers[1], (method, path)
            assert answers[0][0] == 404, (method, path, answers[0])
            if method == "get":
                assert (await keyed.get(path.format(**real), headers=one.headers)).status_code == 200, path
    assert num_tried >= 8
    assert (await keyed.get(f"/api/conversations/{conversation}", headers=one.headers)).status_code == 200
    follow = {"input": "Hi", "previous_response_id": stored["id"]}
    assert (await keyed.post("/v1/responses", json=follow, headers=other.headers)).status_code == 404
    assert not engine.aborted


def test_every_id_in_a_path_is_known_to_be_owned_or_not(app: FastAPI) -> None:
    names = {
        parameter["name"]
        for item in describe(app)["paths"].values()
        for operation in item.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "path"
    }
    assert names <= OWNED | NOT_OWNED


def _example(operation: dict[str, Any]) -> Any:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return next(iter(content["examples"].values()))["value"] if content else None
