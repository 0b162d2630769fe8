"""OpenAI's client and evaluation programs against the real service with the bundled model."""

from typing import Any

import openai
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM

from tests.e2e.service import Service, wait_until
from tests.e2e.starter import STARTER, endless, starter_tokenizer

TEXTS = ("The sky is blue and the sea is wide.", "Привіт! Як справи сьогодні?", "User: Hello!\nAssistant:")


@pytest.fixture
def sdk(shared_service: Service) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{shared_service.url}/v1", api_key="none", max_retries=0)


def test_scores_of_a_prompt_are_those_of_transformers(sdk: openai.OpenAI) -> None:
    """As lm-evaluation-harness asks: token ids, echo, logprobs, and exactly one new token."""
    tokenizer = starter_tokenizer()
    model = AutoModelForCausalLM.from_pretrained(STARTER, dtype=torch.float32).eval()
    prompts = [tokenizer.encode(text) for text in TEXTS]
    answer = sdk.completions.create(
        model="starter", prompt=prompts, echo=True, logprobs=1, max_tokens=1, temperature=0, seed=1234
    )
    for ids, choice in zip(prompts, answer.choices, strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        logprobs = choice.logprobs
        assert logprobs is not None
        assert logprobs.token_logprobs is not None
        assert logprobs.top_logprobs is not None
        first, *scores = logprobs.token_logprobs
        assert first is None
        assert len(scores) == len(ids)
        likeliest = int(expected[-1].argmax())
        targets = torch.tensor([*ids[1:], likeliest])
        assert scores == pytest.approx(expected.gather(1, targets.unsqueeze(1)).squeeze(1).tolist(), abs=1e-4)
        greedy = [score == max(top.values()) for score, top in zip(scores, logprobs.top_logprobs[1:], strict=True)]
        assert greedy == (expected.argmax(-1) == targets).tolist()


def test_a_suffix_chooses_and_cuts_the_text_after_which_transformers_finds_it_likeliest(sdk: openai.OpenAI) -> None:
    tokenizer = starter_tokenizer()
    model = AutoModelForCausalLM.from_pretrained(STARTER, dtype=torch.float32).eval()
    prompt, suffix = "User: Hello!\nAssistant: Hi", " What would you like to talk about?"
    asked: dict[str, Any] = {"model": "starter", "prompt": prompt, "max_tokens": 8, "seed": 3}
    drawn = sdk.completions.create(**asked, n=5, logprobs=0)
    suffix_ids = tokenizer.encode(suffix)

    def score(text: str) -> float:
        ids = [*tokenizer.encode(prompt), *tokenizer.encode(text), *suffix_ids]
        with torch.no_grad():
            logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        begin = len(ids) - len(suffix_ids)
        return float(logprobs[begin - 1 : -1].gather(1, torch.tensor(ids[begin:]).unsqueeze(1)).sum())

    best = []
    for choice in drawn.choices:
        assert choice.logprobs is not None
        ends = [*(choice.logprobs.text_offset or [])[1:], len(choice.text)]
        best.append(max(((score(choice.text[:end]), choice.text[:end]) for end in ends), key=lambda entry: entry[0]))
    best.sort(key=lambda entry: entry[0], reverse=True)
    filled = sdk.completions.create(**asked, suffix=suffix, best_of=5, n=2)
    assert [choice.text for choice in filled.choices] == [text for _, text in best[:2]]
    assert filled.usage is not None
    assert drawn.usage is not None
    assert filled.usage.completion_tokens == drawn.usage.completion_tokens
    assert filled.usage.prompt_tokens == drawn.usage.prompt_tokens + len(suffix_ids)


def test_embeddings_are_the_mean_of_transformers_hidden_states(sdk: openai.OpenAI) -> None:
    tokenizer = starter_tokenizer()
    model = AutoModel.from_pretrained(STARTER, dtype=torch.float32).eval()
    answer = sdk.embeddings.create(model="starter", input=list(TEXTS))
    cut = sdk.embeddings.create(model="starter", input=[tokenizer.encode(text) for text in TEXTS], dimensions=16)
    for text, entry, short in zip(TEXTS, answer.data, cut.data, strict=True):
        with torch.no_grad():
            hidden = model(torch.tensor([tokenizer.encode(text)])).last_hidden_state[0].mean(0)
        assert entry.embedding == pytest.approx((hidden / hidden.norm()).tolist(), abs=1e-5)
        assert short.embedding == pytest.approx((hidden[:16] / hidden[:16].norm()).tolist(), abs=1e-5)


def test_a_reported_seed_brings_the_same_text_again_alone_or_in_a_batch(sdk: openai.OpenAI) -> None:
    batch = sdk.completions.create(model="starter", prompt=["Hello", "Привіт"], n=3, max_tokens=12)
    assert len({choice.text for choice in batch.choices}) > 1
    for prompt, choice in zip(["Hello"] * 3 + ["Привіт"] * 3, batch.choices, strict=True):
        seed = (choice.model_extra or {})["seed"]
        again = sdk.completions.create(model="starter", prompt=prompt, max_tokens=12, seed=seed)
        assert again.choices[0].text == choice.text
    assert batch.system_fingerprint == again.system_fingerprint


def test_stream_and_whole_reply_are_the_same_and_the_second_turn_finds_its_prefix(sdk: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": "Hello! Who are you?"}]
    whole = sdk.chat.completions.create(model="starter", messages=messages, seed=5, max_tokens=40)
    stream = sdk.chat.completions.create(model="starter", messages=messages, seed=5, max_tokens=40, stream=True)
    reply = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert reply == whole.choices[0].message.content
    messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": "And what can you do?"}]
    second = sdk.chat.completions.create(model="starter", messages=messages, seed=5, max_tokens=10)
    assert second.usage is not None
    assert second.usage.prompt_tokens_details is not None
    assert (second.usage.prompt_tokens_details.cached_tokens or 0) > 0


def test_a_client_that_leaves_frees_the_engine(shared_service: Service, sdk: openai.OpenAI) -> None:
    settings = endless()
    num_new = settings.pop("max_new_tokens")

    def num_active() -> int:
        return int(shared_service.client.get("/api/health").json()["queue"]["num_tokens"])

    stream = sdk.completions.create(
        model="starter", prompt="Hello", max_tokens=num_new, n=4, stream=True, extra_body=settings
    )
    next(iter(stream))
    assert num_active() > 0
    stream.close()
    wait_until(lambda: num_active() == 0, lambda: "the streamed work went on")
    with pytest.raises(openai.APITimeoutError):
        sdk.with_options(timeout=0.5).completions.create(
            model="starter", prompt="Hello", max_tokens=num_new, n=4, extra_body=settings
        )
    wait_until(lambda: num_active() == 0, lambda: "the work went on")
