"""Small corpora and settings that train in a second."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gpt2svc.training.settings import Source, TrainingSettings

TINY = TrainingSettings(
    from_scratch=True,
    vocab_size=300,
    n_positions=64,
    n_embd=16,
    n_layer=2,
    n_head=2,
    max_steps=12,
    per_device_train_batch_size=2,
    max_length=64,
    learning_rate=1e-2,
    warmup_steps=2,
    seed=7,
    join_share=0.3,
    validation_split=0.1,
    eval_steps=4,
    save_steps=4,
    logging_steps=2,
    save_total_limit=2,
    device="cpu",
)


def chat_row(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[index % 2], "content": text} for index, text in enumerate(contents)]}


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(record["step"], record["loss"]) for record in records(folder) if "loss" in record]


def assert_same_weights(first: Path, second: Path) -> None:
    ours, theirs = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def corpus_rows() -> list[dict[str, Any]]:
    cities = ("Kyiv", "Lviv", "Odesa", "Poltava")
    chats = [
        chat_row(f"I am in {cities[i % 4]}.", f"{cities[i % 4]} is nice.", "Привіт! 👋", f"Вітаю, номер {i}.")
        for i in range(40)
    ]
    return [*chats, *({"text": f"Рядок {i}: звичайний текст без розмови.\nІ ще один рядок."} for i in range(20))]


@pytest.fixture
def corpus_file(tmp_path: Path, corpus_rows: Sequence[dict[str, Any]]) -> Path:
    return write_rows(tmp_path / "corpus.jsonl", corpus_rows)


@pytest.fixture
def sources(corpus_file: Path) -> tuple[Source, ...]:
    return (Source(corpus_file, repeats=1.5),)


@pytest.fixture
def rows_file(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: Any, name: str = "rows.jsonl") -> Path:
        return write_rows(tmp_path / name, rows)

    return write
