import json
import os
import subprocess
import sys

import pytest
import typer

from gpt2svc.cli import main
from gpt2svc.errors import ConfigError, EngineError, NotFoundError

HEAVY = ("torch", "transformers", "fastapi", "sqlalchemy", "pydantic", "tokenizers", "httpx", "numpy")


def app_that_raises(error: BaseException) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def command() -> None:
        raise error

    return app


def run_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    monkeypatch.setattr(main, "build_app", lambda: app_that_raises(error))
    return main.run([])


def test_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from gpt2svc.cli.main import run\n"
        "code = run(['--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
    assert "version" in done.stdout


def test_a_user_error_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, ConfigError("port must be\nfrom 1 to 65535.")) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Error: port must be from 1 to 65535.\n"


def test_a_missing_thing_is_a_user_error_and_a_failed_engine_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_with(monkeypatch, NotFoundError("model", "nope")) == 2
    assert run_with(monkeypatch, EngineError("step failed")) == 1


def test_a_bug_shows_its_traceback_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, ZeroDivisionError("oops")) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "ZeroDivisionError: oops" in err
    assert "bug" in err.splitlines()[-1]


def test_ctrl_c_exits_with_130_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, KeyboardInterrupt()) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_an_unknown_command_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["versoin"]) == 2
    assert "version" in capsys.readouterr().err


def test_version_json_is_one_document_with_every_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["version", "--json"]) == 0
    versions = json.loads(capsys.readouterr().out)
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"gpt2svc", "torch", "transformers"} <= versions.keys()


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from gpt2svc.cli.main import main; main()", "version"],
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write_end)
    assert done.returncode == 141
    assert done.stderr == ""


def test_completion_offers_the_commands() -> None:
    environment = {**os.environ, "_GPT2SVC_COMPLETE": "complete_bash", "COMP_WORDS": "gpt2svc ver", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from gpt2svc.cli.main import main; main()"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["version"]
