"""The page's sampling against the engine's own: the same logits and settings leave the same tokens, equally likely."""

import random
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser

from gpt2svc.engine.candidates import top_candidates
from gpt2svc.engine.choice import Filters
from gpt2svc.engine.filters import keep_top_k, total_of
from gpt2svc.engine.logits_processors import History, new_logits_processors
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.sequence import Sequence
from gpt2svc.engine.token_history import TokenHistory
from gpt2svc.engine.types import EngineRequest
from tests.web.chat_page import ChatPage
from tests.web.service import WebService

VOCAB_SIZE = 400
STOP_ID = 399
OFF = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "no_repeat_ngram_size": 0,
    "min_new_tokens": 0,
}
CHOICES: dict[str, tuple[float, ...]] = {
    "temperature": (0.0, 0.05, 0.7, 1.0, 1.7, 5.0),
    "top_k": (0, 1, 7, 50, 390, 1000),
    "top_p": (0.0, 0.3, 0.9, 0.999, 1.0),
    "min_p": (0.0, 0.05, 0.5, 1.0),
    "typical_p": (0.001, 0.4, 0.95, 1.0),
    "repetition_penalty": (0.5, 1.0, 1.2, 3.0),
    "presence_penalty": (-1.5, 0.0, 0.6),
    "frequency_penalty": (-0.3, 0.0, 1.1),
    "no_repeat_ngram_size": (0, 1, 2, 3, 64),
    "min_new_tokens": (0, 6, 200),
}


def cases() -> list[dict[str, Any]]:
    """Each setting alone at each of its values, and many together."""
    draw = random.Random(7)
    settings = [{**OFF, name: value} for name, values in CHOICES.items() for value in values]
    settings += [{name: draw.choice(values) for name, values in CHOICES.items()} for _ in range(120)]
    generator = torch.Generator().manual_seed(3)
    made = []
    for index, each in enumerate(settings):
        # Rounded to steps in every third one, so that many tokens are equally likely.
        logits = torch.randn(VOCAB_SIZE, generator=generator) * 4
        logits = (logits * 2).round() / 2 + 0.25 if index % 3 == 0 else logits
        num_reply = draw.choice((0, 1, 5, 40))
        # Few different tokens, so that runs come twice.
        history = [draw.randrange(12) * 7 for _ in range(10 + num_reply)]
        made.append({"settings": each, "logits": logits.tolist(), "history": history, "numPrompt": 10})
    return made


def distribution_of(case: dict[str, Any]) -> dict[int, float]:
    """Token ids and probabilities of what the engine draws from."""
    params = SamplingParams(seed=0, max_new_tokens=500, stop_token_ids=(STOP_ID,), **case["settings"])
    prompt, reply = case["history"][: case["numPrompt"]], case["history"][case["numPrompt"] :]
    sequence = Sequence(EngineRequest("golden", tuple(prompt), params))
    sequence.slot = 0
    sequence.token_ids.extend(reply)
    device = torch.device("cpu")
    store = TokenHistory(1, 1024, VOCAB_SIZE, device)
    store.follow(sequence, is_counted=True)
    scores = torch.tensor([case["logits"]])
    history = History(store, torch.tensor([0]), [len(case["history"])])
    for processor in new_logits_processors([sequence], device):
        processor(scores, history)
    if params.temperature > 0:
        scores /= torch.tensor([[params.temperature]])
    values, ids = top_candidates(scores, VOCAB_SIZE)
    weights = (values.double() - values[:, :1].double()).exp()
    if params.is_greedy:
        weights[:, 1:] = 0
    else:
        filters = Filters([params], VOCAB_SIZE, device)
        if params.top_k:
            weights = torch.where(keep_top_k(values, filters.top_k), weights, 0.0)
        weights = filters.keep(values, weights, total_of(weights))
    shares = (weights / weights.sum())[0].tolist()
    return {token_id: share for token_id, share in zip(ids[0].tolist(), shares, strict=True) if share > 0}


@pytest.fixture(scope="module")
def chat(service: WebService, browser: Browser) -> ChatPage:
    return ChatPage(browser.new_page(), service.url).open()


def test_the_page_keeps_what_the_engine_keeps(chat: ChatPage) -> None:
    all_cases = cases()
    found = chat.js(
        "lib/sampling.js",
        """
        return argument.map(({ settings, logits, history, numPrompt }) => {
            const made = m.distributionOf(Float32Array.from(logits), history, numPrompt, settings, 399);
            const kept = [...made.ids].map((id, rank) => [id, made.drawn[rank]]).filter(([, share]) => share > 0);
            return { kept, numKept: made.numKept };
        });
        """,
        all_cases,
    )
    sizes = set()
    for case, made in zip(all_cases, found, strict=True):
        expected = distribution_of(case)
        assert dict(made["kept"]) == pytest.approx(expected, rel=1e-5, abs=1e-12), case["settings"]
        assert made["numKept"] == len(expected)
        sizes.add(len(expected))
    assert len(sizes) > 20  # the cases do keep more and less


def test_what_the_model_says_itself_and_before_the_filters(chat: ChatPage) -> None:
    logits = torch.randn(1000, generator=torch.Generator().manual_seed(1)) * 3
    made = chat.js(
        "lib/sampling.js",
        """
        const made = m.distributionOf(Float32Array.from(argument), [], 0, { temperature: 0.5, top_k: 3 }, null);
        const entropy = m.entropyOf(made.raw);
        return { raw: [...made.raw], ids: [...made.ids], scored: [...made.scored], entropy };
        """,
        logits.tolist(),
    )
    raw = logits.double().softmax(-1)
    assert made["raw"] == pytest.approx(raw.tolist(), rel=1e-6)
    order = logits.argsort(descending=True)
    assert made["ids"] == order.tolist()
    assert made["scored"] == pytest.approx((logits[order].double() / 0.5).softmax(-1).tolist(), rel=1e-5)
    assert made["entropy"] == pytest.approx(-(raw * raw.log2()).sum().item())
