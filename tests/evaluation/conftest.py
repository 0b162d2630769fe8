"""A small model whose logits are not flat, with its tokenizer, as transformers saved it."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.checkpoints import random_gpt2, write_checkpoint
from tests.fakes.tokenizer import TINY_EOS_ID, TINY_VOCAB_SIZE, write_tokenizer_folder

WINDOW = 64


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread: None) -> None:
    """Every test of this package."""


@pytest.fixture(scope="package")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = random_gpt2(
        5, vocab_size=TINY_VOCAB_SIZE, n_positions=WINDOW, bos_token_id=TINY_EOS_ID, eos_token_id=TINY_EOS_ID
    )
    folder = write_checkpoint(tmp_path_factory.mktemp("evaluation") / "model", model)
    return write_tokenizer_folder(folder)


@pytest.fixture
def rows_file(tmp_path: Path) -> Callable[[Iterable[Any]], Path]:
    def write(rows: Iterable[Any]) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return write
