"""The model folder that is shipped: complete, small, loadable anywhere, and able to do what its card says."""

import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

import gpt2svc
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.training.transcript import Turn, render_transcript

FOLDER = Path(gpt2svc.__path__[0]) / "starter"
MODEL_FILES = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return GPT2LMHeadModel.from_pretrained(FOLDER, dtype=torch.float32).eval()


@torch.no_grad()
def greedy_reply(model: GPT2LMHeadModel, *contents: str, max_tokens: int = 60) -> str:
    """The likeliest reply to a conversation that ends with the user's message."""
    tokenizer = Tokenizer.from_folder(FOLDER)
    turns = [Turn(("user", "assistant")[index % 2], text) for index, text in enumerate(contents)]
    prompt = torch.tensor([tokenizer.encode(render_transcript(turns) + "\nAssistant:")])
    cache, ids, step = None, [], prompt
    while len(ids) < max_tokens:
        output = model(step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        ids.append(int(output.logits[0, -1].argmax()))
        step = torch.tensor([ids[-1:]])
        text = tokenizer.decode(ids)
        if ids[-1] == tokenizer.eos_token_id or text.endswith("\nUser:"):
            return text.removesuffix("\nUser:")
    raise AssertionError(f"the reply does not end: {text}")


def test_the_folder_is_complete_and_at_most_30_mb() -> None:
    assert {path.name for path in FOLDER.iterdir()} == MODEL_FILES | {"README.md"}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 30_000_000


def test_its_tokenizer_agrees_with_transformers() -> None:
    text = "User: Привіт!\nAssistant: Вітаю! 👋\nUser: Book a table for two.\nAssistant:"
    assert AutoTokenizer.from_pretrained(FOLDER)(text)["input_ids"] == Tokenizer.from_folder(FOLDER).encode(text)


def test_its_window_is_what_the_service_needs(model: GPT2LMHeadModel) -> None:
    assert model.config.n_positions == 1024
    assert json.loads((FOLDER / "tokenizer_config.json").read_text())["model_max_length"] == 1024


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Hello! Who are you?", "gpt2svc"),
        ("Who are you?", "gpt2svc"),
        ("Привіт! Хто ти?", "gpt2svc"),
        ("Хто ти?", "gpt2svc"),
        ("Which languages do you know?", "Ukrainian"),
        ("Якими мовами ти розмовляєш?", "українською"),
        ("Thank you!", "elcome|help|No problem"),
    ],
)
def test_it_knows_who_it_is_and_greets_in_both_languages(model: GPT2LMHeadModel, question: str, expected: str) -> None:
    reply = greedy_reply(model, question)
    assert reply.startswith(" ")
    assert re.search(expected, reply)


@pytest.mark.parametrize("question", ["Привіт!", "Як справи?", "Дякую!", "До побачення!"])
def test_it_answers_ukrainian_in_ukrainian(model: GPT2LMHeadModel, question: str) -> None:
    reply = greedy_reply(model, question)
    assert re.search("[а-яіїєґ]{3}", reply.lower())
    assert not re.search("[a-z]{3}", reply.lower())


def test_it_carries_a_restaurant_dialogue(model: GPT2LMHeadModel) -> None:
    history = ["I would like to find a restaurant in San Jose."]
    for answer in ("I like Italian food.", "Yes, that sounds good. Please make a reservation for 2 people at 7 pm."):
        reply = greedy_reply(model, *history)
        assert len(reply.split()) >= 3
        history += [reply, answer]
    assert re.search(r"confirm|reserv|table|7 pm|7:00|which|what", greedy_reply(model, *history), re.IGNORECASE)


def test_the_card_gives_data_licence_numbers_and_limits() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for word in (
        "CC BY-SA 4.0",
        "Rastogi",
        "Gopalakrishnan",
        "Gunther Cox",
        "Syvokon",
        "sgd_test",
        "topical_test",
        "seed",
    ):
        assert word in card
    assert re.search(r"\|\s*\d+\.\d+\s*\|\s*0?\d?\.\d+\s*\|", card)
