"""/v1/completions through OpenAI's own client, against a real server."""

import json
from typing import Any

import httpx
import openai
import pytest

from gpt2svc.api.schemas.openai_completions import CompletionOut
from tests.fakes.engine import ScriptedEngine
from tests.fakes.tokenizer import END_OF_TEXT, TINY_EOS_ID


async def test_text_is_verbatim_and_sampling_is_the_models_own(sdk: openai.AsyncOpenAI, engine: ScriptedEngine) -> None:
    engine.say("  spaces\nUser: and labels\x00 \n")
    answer = await sdk.completions.create(model="tiny", prompt="Hi", max_tokens=60)
    [choice] = answer.choices
    assert (choice.text, choice.finish_reason, choice.logprobs) == ("  spaces\nUser: and labels\x00 \n", "stop", None)
    assert (answer.object, answer.system_fingerprint) == ("text_completion", "fp_0123456789ab")
    params = engine.requests[0].params
    assert (params.temperature, params.top_p, params.top_k, params.repetition_penalty) == (1.0, 1.0, 0, 1.0)
    await sdk.completions.create(model="tiny", prompt="Hi")
    assert engine.requests[1].params.max_new_tokens == 16


async def test_prompts_come_as_text_ids_and_lists_of_both(sdk: openai.AsyncOpenAI, engine: ScriptedEngine) -> None:
    ids = list(engine.encode("Hi"))
    for prompt in ("Hi", ids, ["Hi"], [ids]):
        answer = await sdk.completions.create(model="tiny", prompt=prompt)
        assert len(answer.choices) == 1
        assert list(engine.requests[-1].prompt_token_ids) == ids
    answer = await sdk.completions.create(model="tiny", prompt=["Hi", "Ho"], n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert [engine.decode(request.prompt_token_ids) for request in engine.requests[-4:]] == ["Hi", "Hi", "Ho", "Ho"]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 2 * len(ids)


async def test_special_tokens_are_read_in_prompts_and_empty_ones_begin_a_text(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    expected = [
        (f"{END_OF_TEXT}a", (TINY_EOS_ID, *engine.encode("a"))),
        ("", (TINY_EOS_ID,)),
        (None, (TINY_EOS_ID,)),
    ]
    for prompt, ids in expected:
        await client.post("/v1/completions", json={"prompt": prompt})
        assert engine.requests[-1].prompt_token_ids == ids


async def test_seed_gives_each_prompt_the_same_first_choice_and_is_reported(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    answer = await client.post("/v1/completions", json={"prompt": ["a", "b"], "n": 2, "seed": 3})
    seeds = [request.params.seed for request in engine.requests]
    assert seeds[:2] == seeds[2:]
    assert seeds[0] == 3
    assert seeds[1] != 3
    assert [choice["seed"] for choice in answer.json()["choices"]] == seeds
    await client.post("/v1/completions", json={"prompt": ["a", "a"]})
    assert engine.requests[-1].params.seed != engine.requests[-2].params.seed


async def test_logprobs_have_the_legacy_shape_and_end_with_the_end_of_text(
    sdk: openai.AsyncOpenAI, engine: ScriptedEngine
) -> None:
    engine.say("hello ї")
    answer = await sdk.completions.create(model="tiny", prompt="Hi", logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["hello", " ", "bytes:\\xd1", "bytes:\\x97", END_OF_TEXT]
    assert logprobs.text_offset == [0, 5, 6, 6, 7]
    assert logprobs.token_logprobs == [-0.5] * 5
    assert logprobs.top_logprobs is not None
    assert all(len(top) == 2 and max(top.values()) == -0.5 for top in logprobs.top_logprobs)


async def test_echo_scores_the_prompt_with_null_for_its_first_token(
    sdk: openai.AsyncOpenAI, engine: ScriptedEngine
) -> None:
    engine.say("ing")
    ids = engine.encode("hello there")
    answer = await sdk.completions.create(
        model="tiny", prompt=[list(ids)], echo=True, logprobs=1, max_tokens=1, temperature=0
    )
    [choice] = answer.choices
    assert choice.text == "hello thereing"
    logprobs = choice.logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    assert logprobs.top_logprobs is not None
    assert logprobs.text_offset is not None
    assert len(logprobs.tokens or []) == len(ids) + 1
    assert logprobs.token_logprobs == [None, *[-0.5] * len(ids)]
    assert logprobs.top_logprobs[0] is None
    assert [max(top.values()) for top in logprobs.top_logprobs[1:]] == [-0.5] * len(ids)
    assert logprobs.text_offset[-1] == len("hello there")


@pytest.mark.parametrize("logprobs", [None, 0, 3])
async def test_max_tokens_zero_only_reads_the_prompt_which_may_fill_the_window(
    client: httpx.AsyncClient, engine: ScriptedEngine, logprobs: int | None
) -> None:
    body = {"prompt": "x" * 256, "echo": True, "max_tokens": 0, "logprobs": logprobs}
    answer = CompletionOut.model_validate((await client.post("/v1/completions", json=body)).json())
    [choice] = answer.choices
    assert (choice.text, choice.finish_reason) == ("x" * 256, "length")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (256, 0)
    assert (choice.logprobs is None) == (logprobs is None)
    if choice.logprobs is not None:
        assert len(choice.logprobs.tokens) == 256
    longer = await client.post("/v1/completions", json={**body, "prompt": "x" * 257})
    assert (longer.status_code, longer.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_echo_returns_the_prompt_as_it_was_written(client: httpx.AsyncClient) -> None:
    for prompt in (f"a{END_OF_TEXT} їжак \n", "\ufeff\u2028x"):
        body = {"prompt": prompt, "echo": True, "max_tokens": 0}
        assert (await client.post("/v1/completions", json=body)).json()["choices"][0]["text"] == prompt


async def test_best_of_sends_the_likeliest_and_counts_them_all(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    answer = await client.post("/v1/completions", json={"prompt": ["a", "b"], "best_of": 3, "n": 2, "max_tokens": 4})
    body = answer.json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert len(engine.requests) == 6
    assert body["usage"]["completion_tokens"] == 24
    assert all(choice["logprobs"] is None for choice in body["choices"])


async def test_a_suffix_is_read_after_each_text_counted_and_not_sent(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    body = {"prompt": ["a", "b"], "suffix": "end", "n": 2, "echo": True, "logprobs": 1, "max_tokens": 4}
    answer = (await client.post("/v1/completions", json=body)).json()
    texts = [choice["text"] for choice in answer["choices"]]
    assert [(choice["index"], text[0]) for choice, text in zip(answer["choices"], texts, strict=True)] == [
        (0, "a"), (1, "a"), (2, "b"), (3, "b")
    ]  # fmt: skip
    assert all("end" not in text and len(text) > 1 for text in texts)
    assert ["".join(choice["logprobs"]["tokens"]) for choice in answer["choices"]] == texts
    assert answer["usage"]["completion_tokens"] == 2 * 4 * 4  # four are drawn for each prompt
    assert answer["usage"]["prompt_tokens"] == 2 + 2 * len(engine.encode("end"))
    engine.requests.clear()
    assert (await client.post("/v1/completions", json={**body, "suffix": ""})).status_code == 200
    assert len(engine.requests) == 4  # nothing to judge by: one for each choice


async def test_stream_interleaves_choices_and_adds_up_to_the_whole_answer(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    body: dict[str, Any] = {"prompt": ["Hi", "Ho"], "n": 2, "logprobs": 1, "echo": True, "seed": 1, "max_tokens": 9}
    whole = (await client.post("/v1/completions", json=body)).json()
    streamed = await client.post(
        "/v1/completions", json={**body, "stream": True, "stream_options": {"include_usage": True}}
    )
    *frames, done, end = streamed.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    *chunks, last = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]
    for expected in whole["choices"]:
        own = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == expected["index"]]
        assert "".join(choice["text"] for choice in own) == expected["text"]
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            assert [x for choice in own for x in choice["logprobs"][name]] == expected["logprobs"][name]
        assert [c["finish_reason"] for c in own if c["finish_reason"]] == [expected["finish_reason"]]
        assert {c["seed"] for c in own} == {expected["seed"]}
    assert [c["choices"][0]["index"] for c in chunks[:4]] != [0, 0, 0, 0]


async def test_stop_strings_end_the_text_and_its_logprobs(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.say("hello there again")
    for stop in (" the", [" the", "zzz"]):
        body = {"prompt": "a", "stop": stop, "logprobs": 0}
        [choice] = (await client.post("/v1/completions", json=body)).json()["choices"]
        assert (choice["text"], choice["finish_reason"]) == ("hello", "stop")
        assert choice["logprobs"]["tokens"] == ["hello"]
    await engine.wait_until_idle()


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"suffix": "end", "stream": True}, "suffix", "invalid_input"),
        ({"suffix": "end", "num_beams": 2}, "suffix", "invalid_input"),
        ({"suffix": "end", "max_tokens": 0, "echo": True}, "suffix", "invalid_input"),
        ({"suffix": 5}, "suffix", "invalid_input"),
        ({"suffix": "x" * 255}, "suffix", "context_length_exceeded"),
        ({"max_tokens": 0}, "max_tokens", "invalid_input"),
        ({"logprobs": 6}, "logprobs", "invalid_input"),
        ({"best_of": 1, "n": 2}, "best_of", "invalid_input"),
        ({"best_of": 2, "stream": True}, "best_of", "invalid_input"),
        ({"best_of": 21}, "best_of", "invalid_input"),
        ({"prompt": []}, "prompt", "invalid_input"),
        ({"prompt": [[]]}, "prompt", "invalid_input"),
        ({"prompt": [1, "a"]}, "prompt", "invalid_input"),
        ({"prompt": 5}, "prompt", "invalid_input"),
        ({"prompt": [-1]}, "prompt", "invalid_input"),
        ({"prompt": [999999]}, "prompt", "invalid_input"),
        ({"prompt": ["a"] * 129}, "prompt", "invalid_input"),
        ({"prompt": "x" * 257}, "prompt", "context_length_exceeded"),
        ({"prompt": "x" * 250, "max_tokens": 7}, "prompt", "context_length_exceeded"),
        ({"tools": []}, "tools", "unsupported_parameter"),
    ],
)
async def test_wrong_completion_is_a_400_that_names_the_parameter(
    client: httpx.AsyncClient, engine: ScriptedEngine, fields: dict[str, Any], param: str, code: str
) -> None:
    response = await client.post("/v1/completions", json={"prompt": "a", **fields})
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, code), error
    assert engine.requests == []


async def test_tokenizer_routes_agree_with_prompts(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    info = (await client.get("/tokenizer_info")).json()
    assert (info["eos_token"], info["eos_token_id"], info["model_max_length"]) == (END_OF_TEXT, TINY_EOS_ID, 256)
    text = f"hello їжак{END_OF_TEXT}"
    tokens = (await client.post("/tokenize", json={"prompt": text, "return_token_strs": True})).json()
    assert tokens["tokens"] == [*engine.encode("hello їжак"), TINY_EOS_ID]
    assert tokens["count"] == len(tokens["tokens"]) == len(tokens["token_strs"])
    assert (await client.post("/detokenize", json={"tokens": tokens["tokens"]})).json() == {"prompt": text}
    plain = await client.post("/tokenize", json={"prompt": END_OF_TEXT, "parse_special": False})
    assert TINY_EOS_ID not in plain.json()["tokens"]
    unknown = await client.post("/tokenize", json={"prompt": "a", "model": "other"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert (await client.get("/tokenizer_info", params={"model": "other"})).status_code == 404
