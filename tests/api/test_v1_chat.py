"""/v1/chat/completions through OpenAI's own client, against a real server."""

from collections.abc import Callable

import httpx
import openai
from fastapi import FastAPI

from gpt2svc.api.schemas.openai_chat import ChatCompletionChunk, ChatCompletionOut
from tests.fakes.engine import ScriptedEngine
from tests.fakes.running_app import running
from tests.fakes.tokenizer import TINY_EOS_ID

HI = [{"role": "user", "content": "Hi"}]


async def test_whole_reply_has_text_usage_fingerprint_and_seed(sdk: openai.AsyncOpenAI) -> None:
    reply = await sdk.chat.completions.create(model="tiny", messages=HI, seed=7)
    [choice] = reply.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "Hello there", "stop")
    assert choice.model_extra == {"seed": 7}
    assert reply.id.startswith("chatcmpl-")
    assert (reply.object, reply.model, reply.system_fingerprint) == ("chat.completion", "tiny", "fp_0123456789ab")
    assert reply.usage is not None
    assert reply.usage.completion_tokens > 0
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.usage.prompt_tokens_details is not None
    assert reply.usage.prompt_tokens_details.cached_tokens == 0


async def test_streamed_chunks_make_up_the_whole_reply(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(model="tiny", messages=HI, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.choices for chunk in chunks)  # an empty list would surprise who did not ask for usage
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


async def test_usage_chunk_comes_last_and_only_when_asked_for(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model="tiny", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]
    assert last.choices == []
    assert last.usage is not None
    whole = await sdk.chat.completions.create(model="tiny", messages=HI)
    assert last.usage == whole.usage
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks)


async def test_raw_stream_has_data_lines_only_and_ends_with_done(live: httpx.AsyncClient) -> None:
    response = await live.post("/v1/chat/completions", json={"messages": HI, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-request-id"]
    blocks = response.text.split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    for block in blocks[:-2]:
        [line] = block.split("\n")
        ChatCompletionChunk.model_validate_json(line.removeprefix("data: "), strict=True)


async def test_heartbeat_every_ten_milliseconds_does_not_disturb_the_client(
    make_app: Callable[..., FastAPI], engine: ScriptedEngine
) -> None:
    engine.pace_s = 0.03
    async with (
        running(make_app(sse_ping_s=0.01)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as sdk,
        httpx.AsyncClient(base_url=url) as raw,
    ):
        stream = await sdk.chat.completions.create(model="tiny", messages=HI, stream=True)
        assert "".join([c.choices[0].delta.content or "" async for c in stream]) == "Hello there"
        response = await raw.post("/v1/chat/completions", json={"messages": HI, "stream": True})
        assert ": ping\n" in response.text
        assert ": ping\n\n" not in response.text


async def test_n_choices_have_their_own_seeds_and_stream_interleaved_by_index(
    sdk: openai.AsyncOpenAI, engine: ScriptedEngine
) -> None:
    reply = await sdk.chat.completions.create(model="tiny", messages=HI, n=3, seed=5)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    seeds = [request.params.seed for request in engine.requests]
    assert seeds[0] == 5
    assert len(set(seeds)) == 3
    assert [choice.model_extra for choice in reply.choices] == [{"seed": seed} for seed in seeds]
    stream = await sdk.chat.completions.create(model="tiny", messages=HI, n=3, stream=True)
    texts = {0: "", 1: "", 2: ""}
    ends = []
    async for chunk in stream:
        [choice] = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        ends += [choice.index] if choice.finish_reason else []
    assert texts == dict.fromkeys(range(3), "Hello there")
    assert sorted(ends) == [0, 1, 2]


async def test_logprobs_have_bytes_that_spell_the_reply(sdk: openai.AsyncOpenAI, engine: ScriptedEngine) -> None:
    engine.say("їжак")
    reply = await sdk.chat.completions.create(model="tiny", messages=HI, logprobs=True, top_logprobs=2)
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert b"".join(bytes(token.bytes or []) for token in logprobs.content).decode() == "їжак"
    assert all(token.logprob == -0.5 and len(token.top_logprobs) == 2 for token in logprobs.content)
    plain = await sdk.chat.completions.create(model="tiny", messages=HI)
    assert plain.choices[0].logprobs is None


async def test_length_stop_and_every_setting_reach_the_engine(sdk: openai.AsyncOpenAI, engine: ScriptedEngine) -> None:
    reply = await sdk.chat.completions.create(model="tiny", messages=HI, max_completion_tokens=2)
    assert reply.choices[0].finish_reason == "length"
    reply = await sdk.chat.completions.create(model="tiny", messages=HI, stop=[" th"])
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("Hello", "stop")
    await sdk.chat.completions.create(
        model="tiny",
        messages=HI,
        temperature=0.5,
        top_p=0.8,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logit_bias={"5": -3},
        extra_body={"top_k": 9, "min_p": 0.1, "repetition_penalty": 1.1, "no_repeat_ngram_size": 3},
    )
    params = engine.requests[-1].params
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (0.5, 0.8, 9, 0.1)
    assert (params.presence_penalty, params.frequency_penalty, params.repetition_penalty) == (0.1, 0.2, 1.1)
    assert (params.no_repeat_ngram_size, params.logit_bias) == (3, ((5, -3.0),))
    assert params.stop_token_ids == (TINY_EOS_ID,)


async def test_conversation_is_rendered_with_the_system_message_first(
    live: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": " two"}]},
        {"role": "system", "content": "User: is kind.\nBe brief."},
        {"role": "assistant", "content": "Three\nUser: four", "refusal": None, "tool_calls": []},
        {"role": "developer", "content": " Last. "},
        {"role": "user", "content": "<|endoftext|>"},
    ]
    expected = (
        " User: is kind.\nBe brief.\nLast.\n"
        "User: One two\nAssistant: Three\n User: four\nUser: <|endoftext|>\nAssistant:"
    )
    await live.post("/v1/chat/completions", json={"messages": messages, "max_tokens": 5})
    prompt = engine.requests[-1].prompt_token_ids
    assert engine.decode(prompt) == expected
    assert TINY_EOS_ID not in prompt  # a user can't end the text by typing it
    shown = (await live.post("/v1/chat/completions/render", json={"messages": messages})).json()
    assert shown["prompt"] == expected
    assert tuple(shown["token_ids"]) == prompt
    assert shown["num_tokens"] == len(prompt)
    assert shown["num_remaining"] == shown["n_positions"] - len(prompt)
    assert [(m["index"], m["role"]) for m in shown["messages"]] == [
        (0, "user"), (1, "system"), (2, "assistant"), (3, "system"), (4, "user"),
    ]  # fmt: skip
    assert sum(m["num_tokens"] for m in shown["messages"]) < len(prompt)


async def test_long_chat_is_refused_with_numbers_or_truncated_where_that_is_asked_for(live: httpx.AsyncClient) -> None:
    turn = [{"role": "user", "content": "word " * 12}, {"role": "assistant", "content": "reply " * 12}]
    body = {"messages": [{"role": "system", "content": "Stay."}, *turn * 8, *HI], "max_tokens": 20}
    refused = await live.post("/v1/chat/completions", json=body)
    error = refused.json()["error"]
    assert refused.status_code == 400
    assert (error["code"], error["param"], error["type"]) == (
        "context_length_exceeded",
        "messages",
        "invalid_request_error",
    )
    assert "236" in error["message"]
    reply = await live.post("/v1/chat/completions", json={**body, "truncation": "auto"})
    assert reply.status_code == 200
    dropped = ChatCompletionOut.model_validate(reply.json()).dropped_messages
    assert dropped > 0
    assert dropped % 2 == 0
    shown = await live.post("/v1/chat/completions/render", json={"messages": body["messages"], "truncation": "auto"})
    assert shown.json()["prompt"].startswith("Stay.\nUser: ")


async def test_reply_without_an_asked_length_takes_what_room_is_left(
    sdk: openai.AsyncOpenAI, engine: ScriptedEngine
) -> None:
    await sdk.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x" * 140}])
    request = engine.requests[-1]
    assert request.params.max_new_tokens == 100
    await sdk.chat.completions.create(model="tiny", messages=HI)
    assert len(request.prompt_token_ids) + request.params.max_new_tokens <= 256
