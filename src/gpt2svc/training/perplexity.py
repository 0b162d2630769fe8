"""Perplexity and bits per byte of a model folder on JSONL files: `python -m gpt2svc.training.perplexity`.

Each document stands alone. Every token after its first is scored once, its end marker too; documents longer than the
window are read in windows that overlap by half, so that each scored token has at least half a window before it. The
sums are exact over all tokens of a file. Bits per byte divides by the UTF-8 bytes of the text, less those of the first
tokens, which nothing predicts.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from gpt2svc.errors import Gpt2svcError
from gpt2svc.training.chunked_loss import IGNORED_TARGET
from gpt2svc.training.documents import Document, read_sources
from gpt2svc.training.model_files import read_shape, read_weights
from gpt2svc.training.network import TrainableGpt2
from gpt2svc.training.recipe import Source
from gpt2svc.training.transcript import END_OF_TEXT
from gpt2svc.training.vocabulary import read_tokenizer

TOKENS_PER_PASS = 8192


@dataclass(frozen=True)
class Measurement:
    """Of one file: `nats` is the summed negative log-likelihood of `num_tokens` scored tokens."""

    file: str
    num_documents: int
    num_tokens: int
    num_bytes: int
    nats: float

    @property
    def perplexity(self) -> float:
        return math.exp(self.nats / self.num_tokens)

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.num_bytes


@dataclass(frozen=True)
class Window:
    """A stretch of a document: the first `num_context` targets were scored by the window before."""

    token_ids: np.ndarray  # (T + 1,)
    num_context: int


def windows(token_ids: np.ndarray, size: int) -> Iterator[Window]:
    """Windows of at most `size` inputs over one document; together they score each token after the first once."""
    num_inputs = len(token_ids) - 1
    stride = max(size // 2, 1)
    num_scored = 0
    for start in range(0, num_inputs, stride):
        end = min(start + size, num_inputs)
        yield Window(token_ids[start : end + 1], num_scored - start)
        num_scored = end
        if end == num_inputs:
            return


def measure(folder: Path, file: Path) -> Measurement:
    """Raises InvalidInputError where the model or the file can't be used."""
    model = TrainableGpt2(read_shape(folder))
    read_weights(folder, model)
    model.eval()
    tokenizer = read_tokenizer(folder)
    (read,) = read_sources((Source(file),))
    pending: list[Window] = []
    nats = 0.0
    num_tokens = num_bytes = 0
    for token_ids, size in _encoded(read.documents, tokenizer):
        num_bytes += size
        num_tokens += len(token_ids) - 1
        for window in windows(token_ids, model.shape.n_positions):
            pending.append(window)
            if sum(len(waiting.token_ids) for waiting in pending) >= TOKENS_PER_PASS:
                nats += _nats(model, pending)
                pending = []
    if pending:
        nats += _nats(model, pending)
    return Measurement(file.name, len(read.documents), num_tokens, num_bytes, nats)


def _encoded(documents: Sequence[Document], tokenizer: Tokenizer) -> Iterator[tuple[np.ndarray, int]]:
    """Token ids with the end marker, and the bytes of the text after its first token."""
    end_id = tokenizer.token_to_id(END_OF_TEXT)
    for document in documents:
        ids = tokenizer.encode(document.text, add_special_tokens=False).ids
        # Each character of a byte-level token stands for one byte.
        first = tokenizer.id_to_token(ids[0]) or ""
        yield np.asarray([*ids, end_id], dtype=np.int64), len(document.text.encode("utf-8")) - len(first)


@torch.no_grad()
def _nats(model: TrainableGpt2, pending: Sequence[Window]) -> float:
    targets = []
    for window in pending:
        wanted = window.token_ids[1:].copy()
        wanted[: window.num_context] = IGNORED_TARGET
        targets.append(wanted)
    lengths = [len(wanted) for wanted in targets]
    loss = model.loss(
        torch.from_numpy(np.concatenate([window.token_ids[:-1] for window in pending])),
        torch.from_numpy(np.concatenate([np.arange(length) for length in lengths])),
        torch.from_numpy(np.concatenate(targets)),
        lengths,
    )
    return float(loss.item())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gpt2svc.training.perplexity", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--data", type=Path, required=True, nargs="+", help="JSONL files")
    parser.add_argument("--json", action="store_true", help="one JSON object a file")
    given = parser.parse_args(arguments)
    try:
        for file in given.data:
            result = measure(given.model, file)
            described = asdict(result) | {"perplexity": result.perplexity, "bits_per_byte": result.bits_per_byte}
            line = (
                json.dumps(described)
                if given.json
                else f"{result.file}: perplexity {result.perplexity:.3f}, {result.bits_per_byte:.4f} bits per byte "
                f"({result.num_documents} documents, {result.num_tokens} tokens, {result.num_bytes} bytes)"
            )
            sys.stdout.write(line + "\n")
    except Gpt2svcError as error:
        sys.stderr.write(f"Error: {error.message}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
