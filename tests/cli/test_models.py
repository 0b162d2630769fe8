import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpt2svc.cli import main
from gpt2svc.cli.models import models_app
from tests.fakes.checkpoint import write_checkpoint
from tests.fakes.hub_server import COMMIT, Fault, HubServer


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer().running() as server:
        server.add("openai-community/gpt2", write_checkpoint(tmp_path / "checkpoint"))
        monkeypatch.setenv("GPT2SVC_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("GPT2SVC_HUB_ENDPOINT", server.url)
        monkeypatch.chdir(tmp_path)
        yield server


@pytest.fixture(autouse=True)
def only_this_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "build_app", lambda: models_app)


@pytest.mark.usefixtures("hub")
def test_pulled_model_is_listed_shown_and_removed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main.run(["pull", "gpt2"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("gpt2 is ready: ")
    assert "Downloading model.safetensors (" in err
    assert main.run(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "starter", "openai-community/gpt2"]
    assert main.run(["show", "gpt2"]) == 0
    assert COMMIT in capsys.readouterr().out
    assert main.run(["rm", "gpt2"]) == 0
    assert "deleted" in capsys.readouterr().out
    assert main.run(["show", "gpt2"]) == 2
    assert "gpt2svc models pull gpt2" in capsys.readouterr().err


@pytest.mark.usefixtures("hub")
def test_json_is_one_document_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["pull", "gpt2", "--json"]) == 0
    pulled = json.loads(capsys.readouterr().out)
    assert (pulled["name"], pulled["revision"], pulled["n_layer"]) == ("gpt2", COMMIT, 2)
    assert main.run(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in listed] == ["starter", "openai-community/gpt2"]
    assert listed[1]["problem"] is None
    assert listed[1]["size_bytes"] > 0
    assert main.run(["show", "starter", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["eos_token_id"] is not None


def test_folder_is_shown_by_path(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "own")
    assert main.run(["show", str(folder), "--json", "--data-dir", str(tmp_path / "data")]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(folder)


def test_broken_model_is_listed_with_what_is_wrong(
    capsys: pytest.CaptureFixture[str], hub: HubServer, tmp_path: Path
) -> None:
    assert main.run(["pull", "gpt2"]) == 0
    (tmp_path / "data" / "models" / "openai-community--gpt2" / COMMIT / "config.json").write_text("{")
    capsys.readouterr()
    assert main.run(["list"]) == 0
    out, err = capsys.readouterr()
    assert "broken" in out
    assert "can't be used: config.json" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pull", "../evil"], "not a model's name"),
        (["pull", "starter"], "nothing to pull"),
        (["pull", "nobody/nothing"], "no such model"),
        (["show", "../evil"], "not a folder"),
        (["show", "owner/name"], "not on this machine"),
        (["rm", "starter"], "can't be removed"),
        (["rm", "owner/name"], "No model"),
        (["rm", "../../etc"], "not pulled"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_user_errors_end_with_code_2_and_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1


def test_hub_that_fails_is_reported_without_a_traceback(capsys: pytest.CaptureFixture[str], hub: HubServer) -> None:
    hub.fail("main", Fault(status=503))
    assert main.run(["pull", "gpt2"]) == 2
    assert "Try again later" in capsys.readouterr().err
