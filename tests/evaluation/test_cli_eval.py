import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from gpt2svc.cli import main
from gpt2svc.cli.eval import evaluate
from gpt2svc.cli.main import run
from tests.fakes.checkpoint import write_config

ROWS = [{"text": "hello the other thing"}, {"prompt": "hello", "completion": " the"}]


@pytest.fixture(autouse=True)
def only_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("eval")(evaluate)
    monkeypatch.setattr(main, "build_app", lambda: app)


@pytest.fixture
def data(rows_file: Callable[..., Path]) -> Path:
    return rows_file(ROWS)


def arguments(tmp_path: Path, model: Path | str, data: Path, *more: str) -> list[str]:
    common = ["--data-dir", str(tmp_path / "kept"), "--max-new-tokens", "4"]
    return ["eval", "--model", str(model), "--data", str(data), *common, *more]


def test_an_evaluation_is_printed_kept_and_compared(
    tmp_path: Path, model_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(tmp_path, model_path, data, "--json")) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["metrics"].keys() >= {"perplexity", "bits_per_byte", "word_perplexity", "bleu", "rougeL"}

    assert run(arguments(tmp_path, model_path, data, "--json", "--baseline", first["id"])) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["baseline"]["id"] == first["id"]
    assert second["baseline"]["metrics"]["perplexity"]["change"] == 0
    assert second["metrics"] == first["metrics"]

    assert run(arguments(tmp_path, model_path, data, "--baseline", "last")) == 0
    out, err = capsys.readouterr()
    assert second["id"] in out
    assert f"{first['metrics']['perplexity']:,.4f}" in out
    assert "BLEU: nrefs:1" in err

    assert run(["eval", "--history", "--json", "--data-dir", str(tmp_path / "kept")]) == 0
    assert [report["id"] for report in json.loads(capsys.readouterr().out)][:2] == [first["id"], second["id"]]
    assert run(["eval", "--history", "--data-dir", str(tmp_path / "kept")]) == 0
    assert first["id"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data", "missing.jsonl"], "missing.jsonl"),
        (["--model", "/no/such/folder"], "is not a folder"),
        (["--model", "owner/never-pulled"], "models pull"),
        (["--baseline", "eval_unknown"], "no evaluation yet"),
        (["--window", "1000"], "window"),
        (["--device", "toaster"], "device"),
        (["--stop", ""], "--stop"),
        (["--url", "localhost:8000"], "--url must begin"),
        (["--url", "http://127.0.0.1:9", "--window", "8"], "belong to the service"),
        (["--url", "http://127.0.0.1:9", "--stride", "0"], "belong to the service"),
    ],
)
def test_what_can_not_be_evaluated_ends_with_two_and_keeps_nothing(
    tmp_path: Path, model_path: Path, data: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert run(arguments(tmp_path, model_path, data, *more)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "kept" / "evaluations.jsonl").exists()


def test_bad_lines_and_a_broken_model_end_with_two(
    tmp_path: Path, model_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.write_text('{"text": "good"}\n{"text": 3}\nnot json\n', encoding="utf-8")
    assert run(arguments(tmp_path, model_path, data)) == 2
    err = capsys.readouterr().err
    assert ":2: " in err
    assert ":3: not JSON" in err

    broken = tmp_path / "broken"
    broken.mkdir()
    write_config(broken)
    assert run(arguments(tmp_path, broken, data)) == 2
    assert "model.safetensors" in capsys.readouterr().err
    assert run(["eval"]) == 2
    assert "--data" in capsys.readouterr().err


def test_a_measurement_that_can_not_be_kept_is_still_shown(
    tmp_path: Path, model_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept" / "evaluations.jsonl").mkdir(parents=True)
    assert run(arguments(tmp_path, model_path, data)) == 2
    out, err = capsys.readouterr()
    assert "perplexity" in out
    assert "Can't write" in err


def test_a_quantised_model_is_measured_under_its_own_name(
    tmp_path: Path, model_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(tmp_path, model_path, data, "--json")) == 0
    plain = json.loads(capsys.readouterr().out)
    assert run(arguments(tmp_path, model_path, data, "--quantize", "int8", "--json")) == 0
    quantised = json.loads(capsys.readouterr().out)
    assert quantised["model_revision"] == f"{plain['model_revision']}-int8"
    assert (plain["settings"]["quantize"], quantised["settings"]["quantize"]) == ("none", "int8")
    assert quantised["metrics"]["perplexity"] == pytest.approx(plain["metrics"]["perplexity"], rel=0.05)
    assert run(arguments(tmp_path, model_path, data, "--quantize", "int4")) == 0
    assert f"({plain['model_revision']}-int4)" in capsys.readouterr().out
    assert run(arguments(tmp_path, model_path, data, "--quantize", "int3")) == 2
    assert "quantize (from flag --quantize) is wrong" in capsys.readouterr().err
    assert run(["eval", "--url", "http://127.0.0.1:9", "--data", str(data), "--quantize", "int8"]) == 2
    assert "--quantize" in capsys.readouterr().err
