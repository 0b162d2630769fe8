"""The table of parameters at /v1/models/{id} is the truth: about limits, defaults, and what is refused."""

import inspect
from typing import Any

import httpx
import pytest
from openai.resources.chat.completions import AsyncCompletions as Chats
from openai.resources.completions import AsyncCompletions
from openai.resources.embeddings import AsyncEmbeddings
from openai.resources.responses import AsyncResponses

from tests.fakes.engine import ScriptedEngine

ENDPOINTS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "chat.completions": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}, Chats.create),
    "completions": ("/v1/completions", {"prompt": "Hi"}, AsyncCompletions.create),
    "responses": ("/v1/responses", {"input": "Hi"}, AsyncResponses.create),
    "embeddings": ("/v1/embeddings", {"input": "Hi"}, AsyncEmbeddings.create),
}
# What else a parameter needs beside it.
NEEDS: dict[str, dict[str, Any]] = {
    "num_beam_groups": {"num_beams": 8, "diversity_penalty": 0.5},
    "diversity_penalty": {"num_beams": 4, "num_beam_groups": 2},
    "length_penalty": {"num_beams": 4},
    "top_logprobs": {"logprobs": True},
    "best_of": {"n": 1},
}
Tables = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture
async def tables(client: httpx.AsyncClient) -> Tables:
    return dict((await client.get("/v1/models/tiny")).json()["parameters"])


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_parameter_of_the_official_client_is_in_the_table(tables: Tables, endpoint: str) -> None:
    names = set(inspect.signature(ENDPOINTS[endpoint][2]).parameters)
    names -= {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
    assert names <= tables[endpoint].keys()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_what_the_table_calls_unsupported_is_refused_by_name(
    client: httpx.AsyncClient, engine: ScriptedEngine, tables: Tables, endpoint: str
) -> None:
    path, body, _ = ENDPOINTS[endpoint]
    for name, row in tables[endpoint].items():
        if row["support"] == "unsupported":
            refused = await client.post(path, json={**body, name: "x"})
            error = refused.json()["error"]
            assert (refused.status_code, error["param"]) == (400, name), refused.text
            assert error["code"] in ("unsupported_parameter", "unsupported_value")
            assert (await client.post(path, json={**body, name: None})).status_code == 200, name
    unknown = await client.post(path, json={**body, "temprature": 1})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (400, "unknown_parameter")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_numbers_are_taken_up_to_the_limits_of_the_table_and_no_further(
    client: httpx.AsyncClient, tables: Tables, endpoint: str
) -> None:
    path, body, _ = ENDPOINTS[endpoint]
    num_tried = 0
    for name, row in tables[endpoint].items():
        if row["minimum"] is None:
            continue
        num_tried += 1
        for limit, beyond in ((row["minimum"], row["minimum"] - 1), (row["maximum"], row["maximum"] + 1)):
            asked = {**body, **_beside(endpoint, name)}
            taken = await client.post(path, json={**asked, name: limit})
            if taken.status_code != 200:  # too much for this prompt, or without another parameter; not in itself
                assert "must be at" not in taken.json()["error"]["message"], (name, limit, taken.text)
            refused = await client.post(path, json={**asked, name: beyond})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, name), (beyond, refused.text)
    assert num_tried >= (1 if endpoint == "embeddings" else 15)


def _beside(endpoint: str, name: str) -> dict[str, Any]:
    if endpoint == "responses" and name == "top_logprobs":
        return {"include": ["message.output_text.logprobs"]}
    return NEEDS.get(name, {})


async def test_limits_are_the_models_own_and_whole_numbers_are_whole(tables: Tables, engine: ScriptedEngine) -> None:
    chat, text = tables["chat.completions"], tables["completions"]
    assert chat["seed"]["maximum"] == 2**63 - 1
    assert chat["max_completion_tokens"]["maximum"] == text["max_tokens"]["maximum"] == engine.n_positions - 1
    assert tables["embeddings"]["dimensions"]["maximum"] == 4
    assert chat["num_beams"]["maximum"] == 8


async def test_defaults_are_the_same_by_every_name(tables: Tables, client: httpx.AsyncClient) -> None:
    text, chat = tables["completions"], tables["chat.completions"]
    assert [text[name]["default"] for name in ("max_tokens", "max_new_tokens", "max_length")] == [16, 16, 16]
    assert [chat[name]["default"] for name in ("max_completion_tokens", "max_tokens", "max_length")] == [100, 100, 100]
    assert tables["responses"]["n"]["support"] == tables["responses"]["text"]["support"] == "accepted"


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("chat.completions", "max_completion_tokens"),
        ("chat.completions", "max_new_tokens"),
        ("completions", "max_length"),
        ("responses", "max_output_tokens"),
        ("responses", "max_new_tokens"),
    ],
)
async def test_a_length_that_is_too_much_is_refused_by_the_name_that_was_given(
    client: httpx.AsyncClient, endpoint: str, name: str
) -> None:
    path, body, _ = ENDPOINTS[endpoint]
    refused = await client.post(path, json={**body, name: 256})
    error = refused.json()["error"]
    assert (refused.status_code, error["param"], error["code"]) == (400, name, "context_length_exceeded")
    assert name in error["message"]


async def test_a_word_that_is_none_of_a_few_is_refused_with_those(client: httpx.AsyncClient) -> None:
    body = {"messages": [{"role": "tool", "content": "x"}]}
    message = (await client.post("/v1/chat/completions", json=body)).json()["error"]["message"]
    assert "'system', 'developer', 'user' or 'assistant'" in message


@pytest.mark.parametrize(
    ("path", "body", "param", "words"),
    [
        ("/v1/responses", {"input": [{"role": "tool", "content": "x"}]}, "input.0.role", "'developer'"),
        ("/v1/responses", {"input": [{"type": "reasoning", "summary": []}]}, "input.0.type", "'message'"),
        (
            "/v1/responses",
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input.0.content.0.type",
            "'input_text'",
        ),
        ("/v1/responses", {"input": 5}, "input", "messages"),
        ("/v1/embeddings", {"input": 5}, "input", "token ids"),
        ("/v1/completions", {}, "prompt", "required"),
        ("/v1/completions", {"prompt": {}}, "prompt", "token ids"),
        ("/tokenize", {"prompt": ["a"]}, "prompt", "must be a string"),
        ("/detokenize", {"tokens": [39, 100_000]}, "tokens", "100000"),
        ("/detokenize", {"tokens": [-1]}, "tokens.0", "at least 0"),
    ],
)
async def test_the_part_that_is_wrong_is_named_and_what_it_may_be(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], param: str, words: str
) -> None:
    refused = await client.post(path, json=body)
    error = refused.json()["error"]
    assert (refused.status_code, error["param"], error["code"]) == (400, param, "invalid_input")
    assert words in error["message"]
    assert "constrained" not in error["message"]
