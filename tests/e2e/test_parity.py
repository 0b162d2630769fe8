"""The whole way, from HTTP to the logits, against transformers on the bundled model."""

from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel

from tests.e2e.service import Service
from tests.e2e.sse import parse_events, text_of
from tests.e2e.starter import STARTER, starter_tokenizer

NUM_TOKENS = 48


def expected_ids(prompt: str, repetition_penalty: float, **beams: Any) -> list[int]:
    """What transformers' `generate`, greedy or with beams, continues `prompt` with, an end-of-text token left out."""
    tokenizer = starter_tokenizer()
    model = GPT2LMHeadModel.from_pretrained(STARTER).eval()
    ids = torch.tensor([tokenizer.encode(prompt)])
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=NUM_TOKENS,
            repetition_penalty=repetition_penalty,
            **beams,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    return [token_id for token_id in out[0, ids.shape[1] :].tolist() if token_id != tokenizer.eos_token_id]


@pytest.mark.parametrize("repetition_penalty", [1.0, 1.2])
@pytest.mark.parametrize("content", ["Hello! Who are you?", "Привіт! Хто ти?", "I need a restaurant in San Jose."])
def test_a_greedy_reply_is_what_transformers_generates(
    shared_service: Service, content: str, repetition_penalty: float
) -> None:
    settings: dict[str, Any] = {
        "temperature": 0,
        "repetition_penalty": repetition_penalty,
        "max_new_tokens": NUM_TOKENS,
    }
    response = shared_service.client.post(
        f"/api/conversations/{shared_service.new_conversation()}/messages",
        json={"content": content, "settings": settings, "stream": True},
    )
    events = parse_events(response.content)
    sent = [event.data["token_id"] for event in events if event.name == "token"]
    expected = expected_ids(f"User: {content}\nAssistant:", repetition_penalty)
    assert sent == expected[: len(sent)]
    whole = starter_tokenizer().decode(expected).split("\nUser:")[0]
    assert text_of(events) == whole.removeprefix(" ").rstrip()


@pytest.mark.parametrize("content", ["Hello! Who are you?", "Привіт! Хто ти?"])
def test_a_reply_by_beams_is_what_transformers_finds(shared_service: Service, content: str) -> None:
    beams = {"num_beams": 4, "length_penalty": 0.8, "early_stopping": True, "no_repeat_ngram_size": 3}
    settings = {**beams, "repetition_penalty": 1.2, "max_new_tokens": NUM_TOKENS}
    response = shared_service.client.post(
        f"/api/conversations/{shared_service.new_conversation()}/messages",
        json={"content": content, "settings": settings, "stream": True},
    )
    events = parse_events(response.content)
    sent = [event.data["token_id"] for event in events if event.name == "token"]
    expected = expected_ids(f"User: {content}\nAssistant:", 1.2, **beams)
    assert sent
    assert sent == expected[: len(sent)]
    whole = starter_tokenizer().decode(expected).split("\nUser:")[0]
    assert text_of(events) == whole.removeprefix(" ").rstrip()
