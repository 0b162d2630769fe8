"""Multiple choice with two heads: the right choice is learned as text, and told from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.training.chunked_loss import IGNORED_TARGET
from gpt2svc.training.documents import CorpusError, SourceDocuments
from gpt2svc.training.encoder import Encoder
from gpt2svc.training.rows import BadRowError, Document, Segment
from gpt2svc.training.task import epoch_order, in_batches


@dataclass(frozen=True)
class Question:
    """`rows[i]` is the prompt with choice i; `num_prompt_tokens` of each are the prompt's."""

    rows: tuple[np.ndarray, ...]
    num_prompt_tokens: int
    label: int


@dataclass(frozen=True)
class Questions:
    questions: tuple[Question, ...]
    repeats: tuple[float, ...]
    batch_size: int
    pad_id: int
    seed: int

    def epoch(self, number: int) -> list[list[int]]:
        order = epoch_order(self.repeats, np.random.default_rng([self.seed, number]))
        return in_batches(order.tolist(), self.batch_size)

    def in_order(self) -> list[list[int]]:
        return in_batches(range(len(self.questions)), self.batch_size)

    def collate(self, batch: Sequence[int]) -> dict[str, Tensor]:
        """input_ids, attention_mask and shift_labels (B, C, L); mc_token_ids and is_choice (B, C); mc_labels (B,).

        Questions with fewer choices get empty ones, which `is_choice` keeps out of the loss.
        """
        chosen = [self.questions[index] for index in batch]
        num_choices = max(len(question.rows) for question in chosen)
        longest = max(len(row) for question in chosen for row in question.rows)
        ids = np.full((len(chosen), num_choices, longest), self.pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        targets = np.full_like(ids, IGNORED_TARGET)
        last = np.zeros(ids.shape[:2], dtype=np.int64)
        for i, question in enumerate(chosen):
            for j, row in enumerate(question.rows):
                ids[i, j, : len(row)] = row
                mask[i, j, : len(row)] = 1
                last[i, j] = len(row) - 1
                if j == question.label:
                    targets[i, j, question.num_prompt_tokens - 1 : len(row) - 1] = row[question.num_prompt_tokens :]
        mask[:, :, 0] = 1  # an empty choice must attend to something; nothing reads what comes of it
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "shift_labels": torch.from_numpy(targets),
            "mc_token_ids": torch.from_numpy(last),
            "is_choice": torch.tensor([[j < len(question.rows) for j in range(num_choices)] for question in chosen]),
            "mc_labels": torch.tensor([question.label for question in chosen]),
        }


@dataclass(frozen=True)
class MultipleChoice:
    """The loss of a batch is that of the choices plus the mean language-model loss of the right ones' tokens."""

    training: Questions
    validation: Questions | None

    def num_items(self, batch: Any) -> int:
        return len(batch["mc_labels"])

    def num_tokens(self, batch: Any) -> int:
        return int(batch["attention_mask"].sum())

    def loss(self, model: Any, batch: Any) -> Tensor:
        choice_loss, _, text_loss, count = self._losses(model, batch)
        return choice_loss + text_loss / count * len(batch["mc_labels"])

    def sums(self, model: Any, batch: Any) -> Tensor:
        """Loss of the choices, questions, right answers, loss of the text, tokens of the text."""
        choice_loss, hits, text_loss, count = self._losses(model, batch)
        found = (choice_loss.item(), len(batch["mc_labels"]), hits.item(), text_loss.item(), count.item())
        return torch.tensor(found, dtype=torch.float64)

    def metrics(self, sums: Sequence[float]) -> dict[str, Any]:
        choice_loss, count, hits, text_loss, num_tokens = sums
        return {
            "loss": choice_loss / count + text_loss / num_tokens,
            "choice_loss": choice_loss / count,
            "lm_loss": text_loss / num_tokens,
            "accuracy": hits / count,
        }

    def _losses(self, model: Any, batch: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        output = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], mc_token_ids=batch["mc_token_ids"]
        )
        scores = output.mc_logits.float().masked_fill(~batch["is_choice"], float("-inf"))
        choice_loss = functional.cross_entropy(scores, batch["mc_labels"], reduction="sum")
        targets = batch["shift_labels"]
        is_counted = targets != IGNORED_TARGET
        text_loss = functional.cross_entropy(output.logits[is_counted].float(), targets[is_counted], reduction="sum")
        hits = (scores.argmax(dim=-1) == batch["mc_labels"]).sum()
        return choice_loss, hits, text_loss, is_counted.sum()


def encode_questions(
    sources: Sequence[SourceDocuments], encoder: Encoder, max_length: int
) -> tuple[list[Question], list[float]]:
    """Raises CorpusError with the rows that have no choices or don't fit `max_length`."""
    questions: list[Question] = []
    repeats: list[float] = []
    problems: list[str] = []
    for entry in sources:
        for index, document in enumerate(entry.documents):
            try:
                questions.append(_question(document, encoder, max_length))
                repeats.append(entry.source.repeats)
            except BadRowError as error:
                problems.append(f"{entry.place(index)}: {error}")
    if problems:
        raise CorpusError(problems)
    return questions, repeats


def _question(document: Document, encoder: Encoder, max_length: int) -> Question:
    if not document.choices or not isinstance(document.label, int):
        raise BadRowError('--task multiple-choice needs {"prompt", "choices", "label"}')
    prompt = encoder.ids(document, is_prompt=True)
    rows = []
    for number, choice in enumerate(document.choices):
        row = np.concatenate([prompt, encoder.ids(Document((Segment(choice),)))])
        if len(row) > max_length:
            raise BadRowError(f"prompt and choice {number} have {len(row)} tokens; at most {max_length} fit")
        rows.append(row)
    return Question(tuple(rows), len(prompt), document.label)
