"""lm-evaluation-harness through the service beside its own transformers backend, on the same weights: equal numbers.

    pip install 'lm_eval[api]' datasets
    python -m scripts.lm_eval_check                          # starts the service with the bundled model
    python -m scripts.lm_eval_check --url http://127.0.0.1:8000 --model starter --weights src/gpt2svc/starter

Three small tasks with local data, written to a temporary folder: nothing is downloaded. `choice` compares the
log-likelihoods of possible answers, `rolling` sums them over whole texts, `greedy` generates. Exits with 1 where a
number differs by more than float32's rounding (a relative 1e-4), or any generated text at all.
"""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import lm_eval
from lm_eval.tasks import TaskManager
from tests.e2e.service import Service

STARTER = Path(__file__).parents[1] / "src" / "gpt2svc" / "starter"
TOLERANCE = 1e-4
WINDOW = 1024

CHOICES = [
    (
        "User: Hello! Who are you?\nAssistant:",
        [" I am a small language model.", " The train leaves at nine.", " 42"],
        0,
    ),
    ("User: Привіт! Хто ти?\nAssistant:", [" Червоний", " Я невелика мовна модель.", " Потяг о дев'ятій."], 1),
    ("User: How are you?\nAssistant:", [" I am fine, thank you!", " Blue potatoes sing.", " No yes no yes."], 0),
    ("User: Дякую!\nAssistant:", [" Zzz", " Будь ласка!", " Кіт їсть дощ."], 1),
    ("The sky is", [" blue", " seventeen", " quickly"], 0),
    ("Good morning! It is nice to", [" the the", " window of", " meet you"], 2),
    ("Сьогодні гарна", [" погода", " бігти", " вчора на"], 0),
    ("I would like a cup of", [" yesterday", " tea", " under"], 1),
    ("Thank you very", [" much", " green", " seldom"], 0),
    ("До побачення! Гарного", [" крізь", " дня", " п'ять"], 1),
]
TEXTS = [
    "The old town has a market on Saturdays. People come early, for the bread is gone by nine.",
    "Сьогодні гарна погода, і ми йдемо до парку. Там багато дітей, собак і морозива.",
    "User: Hello!\nAssistant: Hello! How can I help you?\nUser: Tell me about the weather.\nAssistant: It may rain.",
    "Numbers: 1, 2, 3 and 1,000,000; signs: € § ∞; an emoji: \U0001f600.",
    "Бабуся пекла пиріг із яблуками. Кіт сидів на вікні та дивився на дощ. " * 8,
]
PROMPTS = ["User: Hello!\nAssistant:", "User: Привіт!\nAssistant:", "Once upon a time", "Сьогодні ми"]

TASKS: dict[str, dict[str, Any]] = {
    "choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "byte_perplexity"}, {"metric": "bits_per_byte"}],
    },
    "greedy": {
        "output_type": "generate_until",
        "doc_to_text": "{{text}}",
        "doc_to_target": "{{text}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 24, "do_sample": False, "temperature": 0.0},
        "metric_list": [{"metric": "exact_match"}],
    },
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "choice": [{"text": text, "choices": choices, "answer": answer} for text, choices, answer in CHOICES],
    "rolling": [{"text": text} for text in TEXTS],
    "greedy": [{"text": text} for text in PROMPTS],
}


def main() -> None:
    parser = argparse.ArgumentParser(description="lm_eval: the service beside the transformers backend.")
    parser.add_argument("--url", help="of a running service; by default one is started")
    parser.add_argument("--model", default="starter", help="its name there")
    parser.add_argument("--weights", type=Path, default=STARTER, help="the folder of the same model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tasks = _tasks(Path(name))
        with nullcontext(options.url) if options.url else _service(Path(name)) as url:
            served = _evaluate("local-completions", _served_args(url, options), tasks)
        hf_args = {"pretrained": str(options.weights), "dtype": "float32", "max_length": WINDOW}
        local = _evaluate("hf", hf_args, tasks)
    sys.exit(0 if _is_equal(served, local) else 1)


def _served_args(url: str, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "model": options.model,
        "base_url": f"{url}/v1/completions",
        "tokenizer": str(options.weights),
        "tokenizer_backend": "huggingface",
        "max_length": WINDOW,
        "num_concurrent": 4,
    }


@contextmanager
def _service(folder: Path) -> Iterator[str]:
    with Service(folder / "data", "--log-level", "warning", "--dtype", "float32") as service:
        yield service.wait_until_ready().url


def _tasks(folder: Path) -> list[dict[str, Any]]:
    """The tasks' configurations, with their data written to `folder`."""
    configurations = []
    for name, rows in ROWS.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        data = {"path": "json", "kwargs": {"data_files": {"test": str(path)}, "cache_dir": str(folder / "cache")}}
        configurations.append(
            {
                "task": name,
                "dataset_path": data["path"],
                "dataset_kwargs": data["kwargs"],
                "test_split": "test",
                **TASKS[name],
            }
        )
    return configurations


def _evaluate(model: str, model_args: dict[str, Any], tasks: list[dict[str, Any]]) -> dict[str, Any]:
    found = lm_eval.simple_evaluate(
        model=model,
        model_args=model_args,
        tasks=[dict(task) for task in tasks],
        task_manager=TaskManager(include_defaults=False),
        device="cpu",
        bootstrap_iters=0,
    )
    if found is None:
        raise RuntimeError(f"lm_eval brought nothing for {model}")
    return dict(found)


def _is_equal(served: dict[str, Any], local: dict[str, Any]) -> bool:
    """Prints both sides' metrics, and compares them and what stands behind them, sample by sample."""
    is_equal = True
    for task in TASKS:
        for metric, ours in served["results"][task].items():
            theirs = local["results"][task][metric]
            if isinstance(ours, float) and "stderr" not in metric:
                is_same = math.isclose(ours, theirs, rel_tol=TOLERANCE)
                print(f"{task:8} {metric:22} service {ours:<20.12g} hf {theirs:<20.12g} {'' if is_same else 'DIFFERS'}")  # noqa: T201
                is_equal &= is_same
        pairs = [
            pair
            for a, b in zip(_sorted(served, task), _sorted(local, task), strict=True)
            for pair in zip(a["filtered_resps"], b["filtered_resps"], strict=True)
        ]
        differences = [_difference(a, b) for a, b in pairs]
        is_equal &= all(difference <= TOLERANCE for difference in differences)
        print(f"{task:8} {len(pairs)} answers, largest relative difference {max(differences):.2g}")  # noqa: T201
    return is_equal


def _sorted(found: dict[str, Any], task: str) -> list[dict[str, Any]]:
    return sorted(found["samples"][task], key=lambda sample: sample["doc_id"])


def _difference(ours: Any, theirs: Any) -> float:
    """0 for the same text; for (log-likelihood, is it greedy?) or a log-likelihood the relative difference."""
    if isinstance(ours, str):
        return 0.0 if ours == theirs else math.inf
    if isinstance(ours, list | tuple):
        return max(_difference(a, b) for a, b in zip(ours, theirs, strict=True))
    if isinstance(ours, bool):
        return 0.0 if ours == theirs else math.inf
    return abs(float(ours) - float(theirs)) / max(1e-9, abs(float(theirs)))


if __name__ == "__main__":
    main()
