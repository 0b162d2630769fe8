"""What a route does not have is refused by name, in its query as in its body; and what probes may ask with."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gpt2svc.api.openapi import describe
from tests.api.conftest import new_conversation


def operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation) for path, item in describe(app)["paths"].items() for method, operation in item.items()
    ]


async def test_every_route_refuses_a_query_parameter_that_it_does_not_have(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    assert len(operations(app)) > 20
    for method, path, operation in operations(app):
        concrete = path.replace("{", "").replace("}", "")
        body = {"json": {}} if "requestBody" in operation else {}
        response = await client.request(method, f"{concrete}?surprise=1", **body)
        # A body without its fields is refused before, with the same status.
        assert response.status_code == (422 if "422" in operation["responses"] and _is_native(path) else 400), path
        assert str(response.status_code) in operation["responses"], path
        if not body:
            error = response.json()["error"]
            assert error["param"] == "surprise", path
            assert error["message"] == "surprise is not a query parameter of this request."


def _is_native(path: str) -> bool:
    return not path.startswith(("/v1/", "/tokenize", "/detokenize"))


async def test_known_parameters_pass_and_a_long_name_is_cut(client: httpx.AsyncClient) -> None:
    await new_conversation(client)
    assert (await client.get("/api/conversations?limit=5&search=x")).status_code == 200
    response = await client.get("/api/models?" + "x" * 3000 + "=1")
    assert response.status_code == 422
    assert len(response.text) < 600


async def test_pages_take_any_query(client: httpx.AsyncClient) -> None:
    for path in ("/", "/docs", "/openapi.json"):
        assert (await client.get(f"{path}?from=somewhere")).status_code == 200


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/docs", "/openapi.json", "/docs-assets/docs.js"])
async def test_probes_and_pages_answer_head_as_get_without_the_body(live: httpx.AsyncClient, path: str) -> None:
    got, head = await live.get(path), await live.head(path)
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    assert head.headers.keys() >= {"content-type", "x-request-id"}
    assert head.headers["content-type"] == got.headers["content-type"]
