from dataclasses import replace
from pathlib import Path

import pytest

from gpt2svc.errors import InvalidInputError
from gpt2svc.evaluation.history import EvaluationHistory
from gpt2svc.evaluation.report import EvaluationReport, caveats, compare

REPORT = EvaluationReport(
    id="eval_1",
    created_at="2026-01-01T00:00:00+00:00",
    model="starter",
    model_revision="abc",
    data="тест.jsonl",
    data_sha256="0",
    num_examples=1,
    num_completions=0,
    num_cut_prompts=0,
    num_tokens=10,
    num_bytes=20,
    num_words=5,
    metrics={"perplexity": 10.0, "accuracy": 0.5},
    settings={"window": 8, "stride": 4},
)


def test_evaluations_are_kept_in_order_and_found(tmp_path: Path) -> None:
    history = EvaluationHistory(tmp_path / "new")
    second = replace(REPORT, id="eval_2")
    history.add(REPORT)
    history.add(second)
    assert list(history.reports()) == [REPORT, second]
    assert history.find("last") == second
    assert history.find("eval_1") == REPORT


def test_a_line_cut_by_a_full_disk_costs_only_itself(tmp_path: Path) -> None:
    history = EvaluationHistory(tmp_path)
    history.add(REPORT)
    path = tmp_path / "evaluations.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id": "eval_2", "crea')
    history.add(replace(REPORT, id="eval_3"))
    assert [report.id for report in history.reports()] == ["eval_1", "eval_3"]


def test_an_unknown_run_is_refused(tmp_path: Path) -> None:
    history = EvaluationHistory(tmp_path)
    with pytest.raises(InvalidInputError, match="no evaluation yet"):
        history.find("last")
    history.add(REPORT)
    with pytest.raises(InvalidInputError, match="eval_9"):
        history.find("eval_9")


def test_less_perplexity_and_more_accuracy_are_better() -> None:
    now = replace(REPORT, metrics={"perplexity": 9.0, "accuracy": 0.4, "bleu": 1.0})
    assert [(d.metric, d.is_better, d.change) for d in compare(now, REPORT)] == [
        ("perplexity", True, -1.0),
        ("accuracy", False, pytest.approx(-0.1)),
    ]
    assert caveats(now, REPORT) == []


def test_what_can_not_be_compared_is_said() -> None:
    other_data = replace(REPORT, data_sha256="1")
    assert {difference.is_better for difference in compare(REPORT, other_data)} == {None}
    assert "other data" in caveats(REPORT, other_data)[0]
    other_tokens = replace(REPORT, num_tokens=11, settings={"window": 8, "stride": 2})
    first, second = caveats(REPORT, other_tokens)
    assert "bits per byte" in first
    assert "stride" in second
