"""The OpenAPI page is complete, true, and needs no network."""

import json
import re
from typing import Any

import httpx
import pytest

from gpt2svc.api.schemas.events import EVENT_SCHEMAS
from gpt2svc.api.schemas.settings import SettingsIn
from gpt2svc.generation.settings import MAX_SEED, SETTING_SPECS, SamplingSettings
from gpt2svc.models.task_head import ClassificationHead
from tests.api.conftest import new_conversation
from tests.fakes.engine import ScriptedEngine
from tests.fakes.sse import parse_sse

PATHS = {
    "/api/conversations": {"post", "get"},
    "/api/conversations/{conversation_id}": {"get", "patch", "delete"},
    "/api/conversations/{conversation_id}/messages": {"post", "get"},
    "/api/conversations/{conversation_id}/messages/{message_id}/regenerate": {"post"},
    "/api/conversations/{conversation_id}/messages/{message_id}/continue": {"post"},
    "/api/conversations/{conversation_id}/messages/{message_id}/edit": {"post"},
    "/api/conversations/{conversation_id}/messages/{message_id}/tokens": {"get"},
    "/api/vocabulary": {"get"},
    "/api/export": {"get"},
    "/api/import": {"post"},
    "/api/next-token": {"post"},
    "/api/perplexity": {"post"},
    "/api/classify": {"post"},
    "/api/choose": {"post"},
    "/api/generations/{generation_id}": {"get"},
    "/api/generations/{generation_id}/events": {"get"},
    "/api/generations/{generation_id}/cancel": {"post"},
    "/api/models": {"get"},
    "/api/health": {"get"},
    "/v1/models": {"get"},
    "/v1/models/{model_id}": {"get"},
    "/v1/chat/completions": {"post"},
    "/v1/chat/completions/render": {"post"},
    "/v1/completions": {"post"},
    "/v1/embeddings": {"post"},
    "/v1/responses": {"post"},
    "/v1/responses/{response_id}": {"get", "delete"},
    "/v1/responses/{response_id}/cancel": {"post"},
    "/v1/responses/{response_id}/input_items": {"get"},
    "/tokenize": {"post"},
    "/detokenize": {"post"},
    "/tokenizer_info": {"get"},
    "/livez": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
}


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get("/openapi.json")
    assert response.status_code == 200
    return dict(response.json())


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


async def test_paths_are_exactly_these(document: dict[str, Any]) -> None:
    assert {path: set(item) for path, item in document["paths"].items()} == PATHS


async def test_every_operation_is_described_tagged_and_has_its_errors(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        errors = {status: r for status, r in operation["responses"].items() if status >= "400"}
        assert {"401", "403", "421", "500"} <= errors.keys(), name
        for status, response in errors.items():
            content = response["content"]["application/json"]
            if name != "get /readyz" or status != "503":
                assert content["schema"]["$ref"].endswith("/ErrorOut"), (name, status)
                assert content["example"]["error"]["message"], (name, status)
        if "requestBody" in operation:
            assert {"400", "408", "413", "415", "422"} <= errors.keys(), name
            examples = operation["requestBody"]["content"]["application/json"]["examples"]
            assert len(examples) >= 2, name


async def test_body_examples_are_accepted(
    document: dict[str, Any], client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    classifier = ClassificationHead(("a", "b", "c", "d"), "single_label_classification")
    for name, operation in operations(document):
        if "requestBody" not in operation:
            continue
        method, path = name.split()
        for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
            conversation = await new_conversation(client)
            reply = await client.post(f"/api/conversations/{conversation}/messages", json={"content": "Hi"})
            url = path.format(conversation_id=conversation, message_id=reply.json()["id"])
            engine.task_head = classifier if path == "/api/classify" else None
            response = await client.request(method, url, json=example["value"])
            engine.task_head = None
            assert response.status_code in (200, 201), (name, response.text)


async def test_settings_show_the_limits_and_defaults_of_their_specs(document: dict[str, Any]) -> None:
    properties = document["components"]["schemas"]["SettingsIn"]["properties"]
    for name, spec in SETTING_SPECS.items():
        number = next(option for option in properties[name]["anyOf"] if option["type"] != "null")
        assert (number["minimum"], number["maximum"]) == (spec.minimum, spec.maximum)
        assert spec.description in properties[name]["description"]
        assert f"Default {spec.default:g}." in properties[name]["description"]
    assert SettingsIn.model_fields.keys() == SamplingSettings().to_mapping().keys() | {"max_length"}


async def test_whole_numbers_have_whole_limits(document: dict[str, Any]) -> None:
    seed = document["components"]["schemas"]["SettingsIn"]["properties"]["seed"]["anyOf"][0]
    assert seed["maximum"] == MAX_SEED == 2**63 - 1
    top_k = document["components"]["schemas"]["SettingsIn"]["properties"]["top_k"]["anyOf"][0]
    assert isinstance(top_k["maximum"], int)


async def test_a_deadline_is_documented_where_it_is_kept(document: dict[str, Any]) -> None:
    with_deadline = {
        name
        for name, operation in operations(document)
        if any(parameter["name"] == "X-Request-Timeout" for parameter in operation.get("parameters", []))
    }
    message = "/api/conversations/{conversation_id}/messages"
    assert with_deadline == {
        f"post {message}",
        f"post {message}/{{message_id}}/regenerate",
        f"post {message}/{{message_id}}/continue",
        *(f"post /api/{name}" for name in ("next-token", "perplexity", "classify", "choose")),
        *(f"post /v1/{name}" for name in ("chat/completions", "completions", "responses", "embeddings")),
    }


async def test_links_lead_to_operations(document: dict[str, Any]) -> None:
    known = {operation["operationId"]: operation for _, operation in operations(document)}
    links = document["paths"]["/v1/responses"]["post"]["responses"]["200"]["links"]
    assert len(links) == 4
    for link in links.values():
        names = {parameter["name"] for parameter in known[link["operationId"]]["parameters"]}
        assert link["parameters"].keys() <= names


async def test_event_schemas_and_an_example_stream_are_there(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for path, method in (
        ("/api/generations/{generation_id}/events", "get"),
        ("/api/conversations/{conversation_id}/messages", "post"),
    ):
        content = document["paths"][path][method]["responses"]["200"]["content"]["text/event-stream"]
        event = content["schema"]["properties"]
        assert event["event"]["enum"] == ["queued", "started", "token", "done", "error"]
        named = [ref["$ref"].rsplit("/", 1)[-1] for ref in event["data"]["contentSchema"]["oneOf"]]
        assert named == ["QueuedEvent", "StartedEvent", "TokenEvent", "DoneEvent", "ErrorEvent"]
        assert set(named) <= schemas.keys()
        events = parse_sse(content["example"].encode())
        assert [event.name for event in events] == ["queued", "started", "token", "token", "done"]


async def test_real_events_match_their_schemas(document: dict[str, Any], client: httpx.AsyncClient) -> None:
    conversation = await new_conversation(client)
    body = {"content": "Hi", "stream": True, "settings": {"logprobs": 2}}
    response = await client.post(f"/api/conversations/{conversation}/messages", json=body)
    by_name = {schema.__name__.removesuffix("Event").lower(): schema for schema in EVENT_SCHEMAS}
    for event in parse_sse(response.content):
        schema = by_name[event.name]
        assert event.data.keys() <= schema.model_fields.keys()
        schema.model_validate(event.data)


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert references <= document["components"]["schemas"].keys()
    assert "HTTPValidationError" not in references


async def test_page_loads_everything_from_this_service(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "http:" not in page.text
    assert "https:" not in page.text
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "<script>" not in page.text
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) >= 4
    for link in links:
        assert link.startswith("/")
        response = await client.get(link)
        assert response.status_code == 200, link
        assert len(response.content) > 100
    script = (await client.get("/docs-assets/swagger-ui-bundle.js")).text
    assert "SwaggerUIBundle" in script
    assert "fonts.googleapis" not in (await client.get("/docs-assets/swagger-ui.css")).text


async def test_asset_names_lead_nowhere_else(client: httpx.AsyncClient) -> None:
    for name in ("..%2f..%2fconfig.py", "__init__.py", "docs.html", "%00", "swagger-ui-bundle.js%00"):
        assert (await client.get(f"/docs-assets/{name}")).status_code == 404


async def test_home_leads_to_the_page(client: httpx.AsyncClient) -> None:
    response = await client.get("/", headers={"Accept": "text/html"})
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert 'src="web/' in response.text
