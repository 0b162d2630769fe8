"""Beam search and post-processing at /v1."""

import json
from typing import Any

import httpx
import openai
import pytest

from tests.fakes.engine import ScriptedEngine

HI: Any = [{"role": "user", "content": "Hi"}]


async def test_n_are_the_best_of_one_search_with_their_scores(sdk: openai.AsyncOpenAI, engine: ScriptedEngine) -> None:
    engine.say("abcd")
    beams = {"num_beams": 4, "length_penalty": 0.5, "num_beam_groups": 2, "diversity_penalty": 0.5}
    answer = await sdk.completions.create(model="tiny", prompt=["x", "y"], n=2, extra_body=beams)
    assert [(choice.index, choice.text) for choice in answer.choices] == [
        (0, "abcd"),
        (1, "bcd"),
        (2, "abcd"),
        (3, "bcd"),
    ]
    assert [choice.model_extra["score"] for choice in answer.choices if choice.model_extra] == [-1.5, -2.5] * 2
    assert len(engine.requests) == 2
    params = engine.requests[0].params
    assert (params.num_beams, params.num_beam_groups, params.diversity_penalty) == (4, 2, 0.5)
    assert (params.length_penalty, params.num_return_sequences) == (0.5, 2)
    chat = await sdk.chat.completions.create(model="tiny", messages=HI, n=2, logprobs=True, extra_body=beams)
    assert [choice.message.content for choice in chat.choices] == ["abcd", "bcd"]
    assert [choice.model_extra["score"] for choice in chat.choices if choice.model_extra] == [-1.5, -2.5]
    assert [len(each.logprobs.content or ()) for each in chat.choices if each.logprobs] == [4, 3]
    assert chat.usage is not None
    assert chat.usage.completion_tokens == 5 + 4


@pytest.mark.parametrize("path", ["completions", "chat/completions"])
async def test_stream_brings_the_best_first_and_all_scores(
    client: httpx.AsyncClient, engine: ScriptedEngine, path: str
) -> None:
    engine.say("abcd")
    prompt = {"prompt": "x"} if path == "completions" else {"messages": HI}
    answer = await client.post(f"/v1/{path}", json={**prompt, "n": 3, "num_beams": 3, "stream": True})
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    texts = ["", "", ""]
    for choice in choices:
        texts[choice["index"]] += choice["text"] if path == "completions" else choice["delta"].get("content", "")
    assert texts == ["abcd", "bcd", "cd"]
    assert [choice["score"] for choice in choices if choice["finish_reason"]] == [-1.5, -2.5, -3.5]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"num_beams": 2, "n": 3}, "n"),
        ({"num_beams": 2, "temperature": 0.5}, "temperature"),
        ({"num_beams": 2, "top_p": 0.5}, "top_p"),
        ({"num_beams": 3, "num_beam_groups": 2}, "num_beam_groups"),
        ({"num_beams": 2, "diversity_penalty": 0.5}, "diversity_penalty"),
        ({"num_beams": 33}, "num_beams"),
        ({"num_beams": 9}, "num_beams"),
        ({"num_beams": 2, "early_stopping": "soon"}, "early_stopping"),
        ({"early_stopping": True}, "early_stopping"),
        ({"length_penalty": 2.0}, "length_penalty"),
        ({"num_beams": 3, "best_of": 2}, "best_of"),
        ({"num_beams": 2, "echo": True, "logprobs": 1}, "num_beams"),
        ({"num_beams": 2, "echo": True, "max_tokens": 0}, "num_beams"),
        ({"trim_to_sentence": 1}, "trim_to_sentence"),
    ],
)
async def test_what_does_not_go_together_is_refused_by_name(
    client: httpx.AsyncClient, engine: ScriptedEngine, fields: dict[str, Any], param: str
) -> None:
    answer = await client.post("/v1/completions", json={"prompt": "x", **fields})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"].split(".")[0]) == (400, param)
    assert param in error["message"]
    assert engine.requests == []


async def test_best_of_that_is_n_and_neutral_drawing_pass_with_beams(client: httpx.AsyncClient) -> None:
    body = {
        "prompt": "x",
        "num_beams": 2,
        "n": 2,
        "best_of": 2,
        "temperature": 0,
        "top_p": 1,
        "early_stopping": "never",
    }
    assert (await client.post("/v1/completions", json=body)).status_code == 200


async def test_post_processing_cuts_each_choice_and_usage_counts_all(
    sdk: openai.AsyncOpenAI, engine: ScriptedEngine
) -> None:
    said = "a b c d. a b c d. It is. And"
    engine.say(said)
    both = {"collapse_repeats": True, "trim_to_sentence": True}
    answer = await sdk.chat.completions.create(model="tiny", messages=HI, n=2, extra_body=both)
    assert [choice.message.content for choice in answer.choices] == ["a b c d. It is."] * 2
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2 * (len(engine.encode(said)) + 1)
    text = await sdk.completions.create(model="tiny", prompt="x", max_tokens=60, extra_body={"trim_to_sentence": True})
    assert text.choices[0].text == "a b c d. a b c d. It is."


async def test_table_of_parameters_has_them_with_their_limits(client: httpx.AsyncClient) -> None:
    table = (await client.get("/v1/models/tiny")).json()["parameters"]["chat.completions"]
    beams = table["num_beams"]
    # Each beam takes one of the engine's eight slots: fewer than the 32 that any model may be asked for.
    assert (beams["support"], beams["minimum"], beams["maximum"]) == ("honoured", 1, 8)
    assert table["length_penalty"]["default"] == 1.0
    assert table["early_stopping"]["default"] is table["trim_to_sentence"]["default"] is False
