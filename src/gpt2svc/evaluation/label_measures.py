"""Measures of answers against labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def classification_measures(
    labels: Sequence[int], predictions: Sequence[int], names: Sequence[str]
) -> tuple[dict[str, float], Mapping[str, Any]]:
    """Accuracy and macro F1, over labels that occur as answer or as prediction; and the confusion matrix."""
    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(matrix, (np.asarray(labels), np.asarray(predictions)), 1)
    hits = np.diag(matrix)
    totals = matrix.sum(axis=0) + matrix.sum(axis=1)
    occurs = totals > 0
    metrics = {
        "label_accuracy": float(hits.sum() / matrix.sum()),
        "macro_f1": float((2 * hits[occurs] / totals[occurs]).mean()),
    }
    return metrics, {"labels": list(names), "rows": matrix.tolist()}


def choice_accuracy(labels: Sequence[int], choices: Sequence[int]) -> dict[str, float]:
    return {"choice_accuracy": sum(a == b for a, b in zip(labels, choices, strict=True)) / len(labels)}
