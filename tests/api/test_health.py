from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI

from gpt2svc.api.services import Services
from tests.api.conftest import client_of
from tests.fakes.engine import ScriptedEngine


async def test_health_names_model_device_queue_versions_and_uptime(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/health")
    assert response.status_code == 200
    health = response.json()
    assert (health["status"], health["model"], health["device"], health["dtype"]) == ("ok", "tiny", "cpu", "float32")
    assert health["queue"]["num_active"] == 0
    assert health["queue"]["max_requests"] > 0
    assert {"gpt2svc", "torch", "python", "sqlite"} <= health["versions"].keys()
    assert health["uptime_s"] >= 0
    assert [model["id"] for model in health["models"]] == ["tiny"]


async def test_ready_only_with_a_loaded_model(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    assert (await client.get("/readyz")).json()["status"] == "ready"
    engine.set_status("loading", stage="Reading weights", percent=40.0)
    response = await client.get("/readyz")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    body = response.json()
    assert (body["status"], body["stage"], body["percent"]) == ("loading", "Reading weights", 40.0)
    assert body["error"]["code"] == "model_unavailable"
    assert (await client.get("/livez")).status_code == 200
    engine.fail("The folder has no model.safetensors.")
    body = (await client.get("/readyz")).json()
    assert (body["status"], body["error"]["message"]) == ("failed", "The folder has no model.safetensors.")
    engine.recover()
    assert (await client.get("/readyz")).status_code == 200


@pytest.mark.parametrize("status", ["restarting", "failed"])
async def test_health_is_degraded_once_a_model_that_was_ready_is_not(
    client: httpx.AsyncClient, engine: ScriptedEngine, status: str
) -> None:
    if status == "failed":
        engine.fail("gone")
    else:
        engine.crash()
    assert (await client.get("/api/health")).json()["status"] == "degraded"


async def test_draining_service_is_not_ready_and_takes_no_messages(
    client: httpx.AsyncClient, services: Services
) -> None:
    conversation = (await client.post("/api/conversations", json={})).json()["id"]
    await services.generations.stop()
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    assert (await client.get("/api/health")).json()["status"] == "draining"
    refused = await client.post(f"/api/conversations/{conversation}/messages", json={"content": "Hi"})
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1


async def test_closed_store_makes_the_service_not_ready(client: httpx.AsyncClient, services: Services) -> None:
    await services.database.close()
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "storage_error")
    listed = await client.get("/api/conversations")
    assert (listed.status_code, listed.json()["error"]["code"]) == (503, "storage_error")


async def test_models_lists_the_loaded_ones_first_and_then_those_on_this_machine(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/models")
    assert response.status_code == 200
    first, *others = response.json()["data"]
    assert (first["id"], first["is_default"], first["status"], first["n_positions"]) == ("tiny", True, "ready", 256)
    assert "starter" in {model["id"] for model in others}
    assert all(model["status"] in ("available", "failed") for model in others)


async def test_models_say_how_few_bits_their_weights_have(
    make_app: Callable[..., FastAPI],
) -> None:
    app = make_app(quantize="int8")
    async with app.router.lifespan_context(app), client_of(app) as client:
        models = (await client.get("/api/models")).json()["data"]
        assert models[0]["quantize"] == "none"  # what the worker says, here a fake that knows nothing of it
        starter = next(model for model in models if model["id"] == "starter")
        assert starter["quantize"] is None
        assert starter["revision"].endswith("-int8")
        named = {model["id"]: model for model in (await client.get("/v1/models")).json()["data"]}
        assert named["starter"]["system_fingerprint"] == f"fp_{starter['revision']}"
        assert (await client.get("/api/health")).json()["quantize"] == "none"
