import json
from pathlib import Path

import pytest

from gpt2svc.cli import main
from gpt2svc.cli.export import export_app


@pytest.fixture(autouse=True)
def only_this_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "build_app", lambda: export_app)


def test_the_command_writes_the_asked_graphs_and_says_how_exact_they_are(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["onnx", "--model", str(folders["plain"]), "--data-dir", str(tmp_path)]
    assert main.run([*arguments, "--output", str(tmp_path / "a"), "--quantize", "q8", "--fp16", "--json"]) == 0
    graphs = json.loads(capsys.readouterr().out)["graphs"]
    assert [graph["file"] for graph in graphs] == [
        "onnx/model.onnx",
        "onnx/model_quantized.onnx",
        "onnx/model_fp16.onnx",
    ]
    assert main.run([*arguments, "--output", str(tmp_path / "b")]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "b")
    assert "within" in err
    assert [file.name for file in (tmp_path / "b" / "onnx").iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--model", "/no/such/folder"], "is not a folder"),
        (["--model", "owner/never-pulled"], "models pull"),
        (["--quantize", "q4"], "--quantize must be q8"),
        (["--output", "/proc/no/out"], "Can't write"),
    ],
)
def test_what_can_not_be_exported_ends_with_two(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    arguments = ["onnx", "--model", str(folders["plain"]), "--output", str(tmp_path / "out")]
    assert main.run([*arguments, "--data-dir", str(tmp_path), *more]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
