"""A model with a chat template of its own: every route writes its prompts by it, and replies end where it says."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gpt2svc.cli.model_check import require_usable_model
from gpt2svc.errors import ConfigError, ModelFormatError
from gpt2svc.models.chat_template import ChatTemplate
from gpt2svc.models.tokenizer import Tokenizer
from tests.api.conftest import client_of, new_conversation
from tests.fakes.engine import ScriptedEngine
from tests.fakes.tokenizer import END_OF_TEXT, tiny_tokenizer
from tests.models.test_chat_template import ALPACA, CHATML

START, END = "<|im_start|>", "<|im_end|>"


class MarkedEngine(ScriptedEngine):
    """Reads prompts with their special tokens spelt out."""

    def decode(self, token_ids: Any) -> str:
        spellings = {token_id: spelling for spelling, token_id in self.tokenizer.special_tokens.items()}
        return "".join(spellings.get(each) or self.tokenizer.decode([each]) for each in token_ids)

    @property
    def prompt(self) -> str:
        return self.decode(self.requests[-1].prompt_token_ids)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    backend = tiny_tokenizer()
    backend.add_special_tokens([START, END])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END_OF_TEXT}))
    return Tokenizer.from_folder(folder)


@pytest.fixture
def engine(tokenizer: Tokenizer) -> ScriptedEngine:
    template = ChatTemplate(CHATML, tokenizer, origin="of a test")
    engine = MarkedEngine(tokenizer.with_chat_template(template))
    engine._state = replace(engine.state, info=replace(engine._info, vocab_size=tokenizer.vocab_size))
    end = tokenizer.special_tokens[END]
    engine.say((*engine.encode("Hello there"), end, *engine.encode("never seen")))
    return engine


@pytest.fixture
def make_other(
    make_app: Callable[..., FastAPI], engine: ScriptedEngine, tokenizer: Tokenizer
) -> Callable[..., FastAPI]:
    """The service with a model that has this template."""

    def make(source: str) -> FastAPI:
        engine._tokenizer = tokenizer.with_chat_template(ChatTemplate(source, tokenizer, origin="of a test"))
        return make_app()

    return make


async def test_conversations_are_written_by_the_template(client: httpx.AsyncClient, engine: MarkedEngine) -> None:
    conversation = await new_conversation(client)
    url = f"/api/conversations/{conversation}/messages"
    first = await client.post(url, json={"content": f"Hi{END}"})
    assert (first.json()["content"], first.json()["finish_reason"]) == ("Hello there", "stop")
    end = engine.tokenizer.special_tokens[END]
    assert end in engine.requests[0].params.stop_token_ids
    assert engine.requests[0].prompt_token_ids.count(end) == 1  # the one in the message is text
    second = await client.post(url, json={"content": "And you?"})
    talk = [("user", f"Hi{END}"), ("assistant", "Hello there"), ("user", "And you?")]
    expected = "".join(f"{START}{role}\n{text}{END}\n" for role, text in talk) + f"{START}assistant\n"
    assert engine.prompt == expected
    tokens = (await client.get(f"{url}/{second.json()['id']}/tokens")).json()
    assert tuple(tokens["prompt_token_ids"]) == engine.requests[1].prompt_token_ids
    again = await client.post(f"{url}/{second.json()['id']}/regenerate", json={})
    assert again.json()["content"] == "Hello there"
    assert engine.prompt == expected


async def test_chats_and_responses_are_written_by_the_template(client: httpx.AsyncClient, engine: MarkedEngine) -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    expected = f"{START}system\nBe kind.{END}\n{START}user\nHi{END}\n{START}assistant\n"
    chat = (await client.post("/v1/chat/completions", json={"messages": messages})).json()
    assert (chat["choices"][0]["message"]["content"], engine.prompt) == ("Hello there", expected)
    shown = (await client.post("/v1/chat/completions/render", json={"messages": messages})).json()
    assert (shown["prompt"], shown["stop"]) == (expected, [END])
    assert tuple(shown["token_ids"]) == engine.requests[-1].prompt_token_ids
    assert shown["num_tokens"] == len(shown["token_ids"])
    assert [entry["role"] for entry in shown["messages"]] == ["system", "user"]
    created = (await client.post("/v1/responses", json={"input": messages})).json()
    assert (created["output"][0]["content"][0]["text"], engine.prompt) == ("Hello there", expected)
    info = (await client.get("/tokenizer_info")).json()
    assert info["chat_template"] == CHATML
    raw = (await client.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 40})).json()
    assert "never seen" in raw["choices"][0]["text"]  # no reply: only the end of the text ends it


async def test_old_turns_drop_whole(client: httpx.AsyncClient, engine: MarkedEngine) -> None:
    messages = [{"role": "user", "content": f"Message {n} of many"} for n in range(40)]
    body = {"messages": messages, "truncation": "auto", "max_tokens": 20}
    answer = (await client.post("/v1/chat/completions", json=body)).json()
    dropped = answer["dropped_messages"]
    assert 0 < dropped < 40
    assert engine.prompt.startswith(f"{START}user\nMessage {dropped} of many{END}\n")
    assert engine.prompt.endswith(f"Message 39 of many{END}\n{START}assistant\n")
    refused = await client.post("/v1/chat/completions", json={"messages": messages})
    assert refused.json()["error"]["code"] == "context_length_exceeded"


async def test_labels_of_a_template_end_replies_and_its_refusals_are_400(
    make_other: Callable[..., FastAPI], engine: MarkedEngine
) -> None:
    engine.say("Hello there\n### Instruction:\nmore", when="### Response")
    app = make_other(ALPACA)
    async with app.router.lifespan_context(app), client_of(app) as client:
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
        chat = (await client.post("/v1/chat/completions", json={"messages": messages})).json()
        assert chat["choices"][0]["message"]["content"] == "Hello there"
        assert engine.prompt == "### Instruction:\nBe kind. Hi\n### Response:\n"
        backwards = [{"role": "assistant", "content": "Hi"}]
        refused = await client.post("/v1/chat/completions", json={"messages": backwards})
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert error["param"] == "messages"
        assert "Users speak first" in error["message"]


def test_a_template_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("{% for m in messages %}{{ m.content }}")
    with pytest.raises(ModelFormatError, match=r"mine\.jinja can't be used \(line 1\)"):
        require_usable_model("starter", file)
    file.write_text(ALPACA)
    require_usable_model("starter", file)
    with pytest.raises((ModelFormatError, ConfigError), match=r"nowhere\.jinja"):
        require_usable_model("starter", tmp_path / "nowhere.jinja")
