import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sacrebleu.metrics.bleu import BLEU
from transformers import AutoTokenizer, GPT2LMHeadModel

from gpt2svc.errors import InvalidInputError
from gpt2svc.evaluation.evaluation import EvaluationOptions, evaluate
from gpt2svc.evaluation.rouge import corpus_rouge
from gpt2svc.models.folder import ModelFolder
from tests.evaluation.conftest import WINDOW

LONG = "Довгий рядок тексту. " * 12  # several windows
ROWS = [
    {"messages": [{"role": "user", "content": "Привіт! 👋"}, {"role": "assistant", "content": "Вітаю"}]},
    {"text": "Two\nlines"},
    {"text": LONG},
]
TEXTS = ["User: Привіт! 👋\nAssistant: Вітаю", "Two\nlines", LONG]


def plain_loop(path: Path, texts: list[str], stride: int) -> tuple[float, int, int]:
    """Nats, tokens and right guesses as anyone would compute them with transformers, one window at a time."""
    model, tokenizer = GPT2LMHeadModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    nats, num_tokens, num_correct = 0.0, 0, 0
    for text in texts:
        ids = torch.tensor([*tokenizer(text)["input_ids"], model.config.eos_token_id])
        done = 0
        for start in range(0, len(ids) - 1, stride):
            part = ids[start : start + WINDOW + 1]
            with torch.no_grad():
                logits = model(part[:-1].unsqueeze(0)).logits[0][done - start :]
            targets = part[1:][done - start :]
            nats -= logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).sum().item()
            num_correct += int((logits.argmax(-1) == targets).sum())
            num_tokens += len(targets)
            done = start + len(part) - 1
            if done == len(ids) - 1:
                break
    return nats, num_tokens, num_correct


@pytest.mark.parametrize("stride", [None, 10])
def test_perplexity_and_accuracy_equal_a_plain_transformers_loop(
    model_path: Path, rows_file: Callable[..., Path], stride: int | None
) -> None:
    report = evaluate(ModelFolder.open(model_path), rows_file(ROWS), EvaluationOptions(stride=stride))
    nats, num_tokens, num_correct = plain_loop(model_path, TEXTS, stride or WINDOW // 2)
    assert report.num_tokens == num_tokens
    assert report.metrics["perplexity"] == pytest.approx(math.exp(nats / num_tokens), rel=1e-5)
    assert report.metrics["accuracy"] == num_correct / num_tokens
    # Each text's first token is one byte here, and nothing predicts it.
    num_bytes = sum(len(text.encode()) for text in TEXTS) - 2 - 3
    assert report.num_bytes in range(num_bytes - 2, num_bytes + 3)
    assert report.metrics["bits_per_byte"] == pytest.approx(nats / math.log(2) / report.num_bytes, rel=1e-5)
    assert report.num_words == sum(len(text.split()) for text in TEXTS)
    assert report.metrics["word_perplexity"] == pytest.approx(math.exp(nats / report.num_words), rel=1e-4)
    assert report.settings["stride"] == (stride or WINDOW // 2)


def test_only_the_completion_of_a_prompt_is_scored(model_path: Path, rows_file: Callable[..., Path]) -> None:
    rows = [{"prompt": "hello the", "completion": " other thing"}]
    report = evaluate(ModelFolder.open(model_path), rows_file(rows), EvaluationOptions(max_new_tokens=0))
    model, tokenizer = GPT2LMHeadModel.from_pretrained(model_path).eval(), AutoTokenizer.from_pretrained(model_path)
    prompt, completion = tokenizer("hello the")["input_ids"], tokenizer(" other thing")["input_ids"]
    ids = torch.tensor([[*prompt, *completion, model.config.eos_token_id]])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    with torch.no_grad():
        expected = model(ids, labels=labels).loss.item()
    assert report.metrics["loss"] == pytest.approx(expected, rel=1e-5)
    assert (report.num_tokens, report.num_bytes, report.num_words) == (len(completion) + 1, 12, 2)
    assert "bleu" not in report.metrics


def test_written_completions_are_greedy_and_measured_as_sacrebleu_does(
    model_path: Path, rows_file: Callable[..., Path]
) -> None:
    model, tokenizer = GPT2LMHeadModel.from_pretrained(model_path).eval(), AutoTokenizer.from_pretrained(model_path)
    prompts = ["hello the", "Привіт", "x" * 90]
    written = []
    for prompt in prompts:
        ids = torch.tensor([tokenizer(prompt)["input_ids"][-(WINDOW - 20) :]])
        found = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False, pad_token_id=0
        )
        written.append(tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True).strip())
    references = [written[0] or "x", "рибка плаває " + written[1], "ніщо"]
    rows = [{"prompt": p, "completion": c} for p, c in zip(prompts, references, strict=True)]

    report = evaluate(ModelFolder.open(model_path), rows_file(rows), EvaluationOptions(max_new_tokens=20))

    assert report.metrics["bleu"] == pytest.approx(
        BLEU().corpus_score(written, [[r.strip() for r in references]]).score
    )
    assert report.settings["bleu_signature"].startswith("nrefs:1|")
    assert report.metrics["rougeL"] == corpus_rouge(written, references).rouge_l
    assert report.metrics["exact_match"] == pytest.approx(1 / 3)
    assert (report.num_completions, report.num_cut_prompts) == (3, 1)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (EvaluationOptions(window=WINDOW + 1), "window"),
        (EvaluationOptions(window=1), "window"),
        (EvaluationOptions(stride=0), "stride"),
        (EvaluationOptions(window=8, stride=9), "stride"),
        (EvaluationOptions(max_new_tokens=WINDOW), "max_new_tokens"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(
    model_path: Path, rows_file: Callable[..., Path], options: EvaluationOptions, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        evaluate(ModelFolder.open(model_path), rows_file(ROWS), options)
    assert caught.value.field == field
