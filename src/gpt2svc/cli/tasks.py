"""`gpt2svc classify` and `gpt2svc choose`: models with a head for a task, in the command's own process."""

import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gpt2svc.cli.flags import AsJsonLines, AsOneJsonObject, Device, Dtype, Model, ModelsDataDir
from gpt2svc.cli.output import write, write_json
from gpt2svc.errors import ContextWindowError, InvalidInputError, ModelTaskError

if TYPE_CHECKING:
    from gpt2svc.cli.local_engine import LocalEngine

_AT_ONCE = 16


def classify(
    texts: list[str] | None = typer.Argument(None, help="Texts; without one, each line of the input is one."),
    *,
    top: int | None = typer.Option(None, min=1, help="Show only so many labels, the likeliest."),
    as_json: AsJsonLines = False,
    model: Model = None,
    device: Device = None,
    dtype: Dtype = None,
    data_dir: ModelsDataDir = None,
) -> None:
    """Tell which labels fit texts, by a model that was trained to classify (gpt2svc train --task classification)."""
    from gpt2svc.chat.classification import ranked_labels
    from gpt2svc.engine.types import THROUGH_HEAD
    from gpt2svc.models.task_head import ClassificationHead

    engine = _load(model, device, dtype, data_dir)
    head = engine.head
    if not isinstance(head, ClassificationHead):
        raise ModelTaskError(f"The model {engine.info.name!r} has no head for classification.", field="model")
    lines = texts or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    if not lines:
        raise InvalidInputError("There is no text to classify.", field="texts")
    for first in range(0, len(lines), _AT_ONCE):
        batch = lines[first : first + _AT_ONCE]
        rows = [_fitting(engine, head.without_padding(_encoded(engine, text))) for text in batch]
        for text, outputs in zip(batch, engine.read(rows, THROUGH_HEAD), strict=True):
            labels = ranked_labels(head, _floats(outputs[-1].pooled))[:top]
            if as_json:
                described = [
                    {"id": each.index, "label": each.label, "probability": each.probability, "score": each.score}
                    for each in labels
                ]
                write_json({"text": text, "label": labels[0].label, "labels": described}, indent=None)
                continue
            write(text)
            for each in labels:
                shown = f"{each.score:>9.4f}" if each.probability is None else f"{each.probability:>9.2%}"
                write(f"{shown}  {each.label}")


def choose(
    prompt: str = typer.Argument(..., help="The choices go on right after it: mind the space between."),
    choices: list[str] = typer.Argument(..., help="Two or more texts."),
    *,
    as_json: AsOneJsonObject = False,
    model: Model = None,
    device: Device = None,
    dtype: Dtype = None,
    data_dir: ModelsDataDir = None,
) -> None:
    """Rank choices by how well they go on after a prompt: by the model's head for choices, else by their likelihood."""
    from gpt2svc.chat.choosing import MIN_CHOICES, ranked_choices
    from gpt2svc.engine.types import THROUGH_HEAD, Scoring
    from gpt2svc.models.task_head import ChoiceHead

    if len(choices) < MIN_CHOICES:
        raise InvalidInputError(f"At least {MIN_CHOICES} choices are needed.", field="choices")
    engine = _load(model, device, dtype, data_dir)
    opening = _encoded(engine, prompt)
    endings = [_encoded(engine, choice) for choice in choices]
    rows = [_fitting(engine, opening + ending) for ending in endings]
    has_head = isinstance(engine.head, ChoiceHead)
    found = engine.read(rows, THROUGH_HEAD if has_head else Scoring(start=len(opening)))
    if has_head:
        scores = [_floats(outputs[-1].pooled)[0] for outputs in found]
    else:
        logprobs = [[each.logprob for output in outputs for each in output.prompt_logprobs or ()] for outputs in found]
        scores = [sum(values) / len(values) for values in logprobs]
    ranked = ranked_choices(scores, endings)
    if as_json:
        described: list[dict[str, Any]] = [
            {"index": each.index, "text": choices[each.index], "probability": each.probability, "score": each.score}
            for each in ranked
        ]
        write_json({"method": "head" if has_head else "loglikelihood", "choices": described})
        return
    for each in ranked:
        write(f"{each.probability:>9.2%}  {each.score:>9.4f}  {choices[each.index]!r}")


def _load(model: str | None, device: str | None, dtype: str | None, data_dir: Path | None) -> "LocalEngine":
    from gpt2svc.cli.local_engine import LocalEngine
    from gpt2svc.config import load_settings

    service = load_settings(model=model, device=device, dtype=dtype, data_dir=data_dir)
    return LocalEngine.load(service, max_num_seqs=_AT_ONCE)


def _encoded(engine: "LocalEngine", text: str) -> tuple[int, ...]:
    token_ids = tuple(engine.tokenizer.encode(text))
    if not token_ids:
        raise InvalidInputError("A text is empty.", field="texts")
    return token_ids


def _fitting(engine: "LocalEngine", token_ids: tuple[int, ...]) -> tuple[int, ...]:
    if len(token_ids) > engine.info.n_positions:
        raise ContextWindowError(
            f"A text has {len(token_ids)} tokens; the model's window is {engine.info.n_positions}.",
            num_tokens=len(token_ids),
            max_tokens=engine.info.n_positions,
            field="texts",
        )
    return token_ids


def _floats(vector: bytes | None) -> tuple[float, ...]:
    values = vector or b""
    return struct.unpack(f"<{len(values) // 4}f", values)
