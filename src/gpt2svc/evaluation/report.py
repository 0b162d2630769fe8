"""EvaluationReport: what one evaluation found, as it is printed and kept."""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from gpt2svc.evaluation.examples import ExampleFile
from gpt2svc.evaluation.labelled import LabelledFile
from gpt2svc.evaluation.likelihood import Likelihood

# In the order in which people read them; each with whether less of it is better.
METRICS: Final[Mapping[str, bool]] = {
    "perplexity": True,
    "bits_per_byte": True,
    "word_perplexity": True,
    "loss": True,
    "accuracy": False,
    "bleu": False,
    "rouge1": False,
    "rouge2": False,
    "rougeL": False,
    "exact_match": False,
    "label_accuracy": False,
    "macro_f1": False,
    "choice_accuracy": False,
}


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """`metrics` has those of METRICS that could be measured; `settings` what they depend on."""

    id: str
    created_at: str  # ISO 8601, UTC
    model: str
    model_revision: str
    data: str
    data_sha256: str
    num_examples: int
    num_completions: int  # generated and compared
    num_cut_prompts: int
    num_tokens: int  # scored
    num_bytes: int
    num_words: int
    metrics: Mapping[str, float]
    settings: Mapping[str, Any]  # window, stride, device, dtype, max_new_tokens, stop, bleu_signature
    # {"labels": [...], "rows": [[...]]} of a classification: rows[i][j] counts examples of label i taken for label j.
    confusion: Mapping[str, Any] | None = None

    def to_mapping(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_mapping` didn't write."""
        names = cls.__dataclass_fields__
        report = cls(**{name: mapping[name] for name in names if name in mapping})
        if not isinstance(report.id, str) or not isinstance(report.metrics, dict):
            raise TypeError("id must be text and metrics an object")
        return report


def new_report(
    *,
    model: str,
    model_revision: str,
    file: ExampleFile | LabelledFile,
    likelihood: Likelihood,
    metrics: Mapping[str, float],
    settings: Mapping[str, Any],
    num_completions: int = 0,
    num_cut_prompts: int = 0,
    confusion: Mapping[str, Any] | None = None,
) -> EvaluationReport:
    """With an id of its own, made now."""
    return EvaluationReport(
        id=f"eval_{secrets.token_hex(6)}",
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model=model,
        model_revision=model_revision,
        data=str(file.path),
        data_sha256=file.digest,
        num_examples=len(file.examples),
        num_completions=num_completions,
        num_cut_prompts=num_cut_prompts,
        num_tokens=likelihood.num_tokens,
        num_bytes=likelihood.num_bytes,
        num_words=likelihood.num_words,
        metrics=metrics,
        settings=settings,
        confusion=confusion,
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one metric against the baseline; `is_better` is None where they are equal or the data is not the same."""

    metric: str
    value: float
    baseline: float
    is_better: bool | None

    @property
    def change(self) -> float:
        return self.value - self.baseline


def compare(report: EvaluationReport, baseline: EvaluationReport) -> list[Difference]:
    """The metrics that both have."""
    differences = []
    for name, is_less_better in METRICS.items():
        value, before = report.metrics.get(name), baseline.metrics.get(name)
        if value is not None and before is not None:
            has_verdict = value != before and report.data_sha256 == baseline.data_sha256
            is_better = (value < before) == is_less_better if has_verdict else None
            differences.append(Difference(name, value, before, is_better))
    return differences


def caveats(report: EvaluationReport, baseline: EvaluationReport) -> list[str]:
    """Why the two numbers can't be compared as they stand, for people; empty where they can."""
    if report.data_sha256 != baseline.data_sha256:
        return [f"The baseline was measured on other data ({baseline.data}): the numbers can't be compared."]
    found = []
    is_whole = report.settings.get("scores_end_of_text") == baseline.settings.get("scores_end_of_text")
    if not is_whole:
        found.append("Only one of the two runs scored the ends of the texts: their likelihoods differ by that too.")
    elif report.num_tokens != baseline.num_tokens:
        found.append(
            "The two models cut the text into different tokens: compare bits per byte and word perplexity, "
            "not perplexity, loss and accuracy."
        )
    changed = [
        name
        for name in ("window", "stride", "max_new_tokens", "stop")
        if report.settings.get(name) != baseline.settings.get(name)
    ]
    if changed:
        found.append(f"The two runs differ in {', '.join(changed)}.")
    return found
