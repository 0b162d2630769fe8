import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gpt2svc.cli.db import db_app
from gpt2svc.errors import InvalidInputError, NotFoundError

TEXT = "# gpt2svc conversations 1\n\n=== Потяги\n--- User\nКоли перший?\n\n--- Assistant\nО шостій.\n\n"


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(db_app, arguments, input=stdin, catch_exceptions=False)


def test_conversations_go_out_and_come_back(tmp_path: Path) -> None:
    here, there = ("--data-dir", str(tmp_path / "here")), ("--data-dir", str(tmp_path / "there"))
    imported = run("import", "-", *here, stdin=TEXT)
    assert imported.exit_code == 0
    assert "imported   1. Потяги" in imported.stdout
    file = tmp_path / "all.json"
    assert run("export", str(file), *here).exit_code == 0
    assert not Path(f"{file}.partial").exists()
    dry = json.loads(run("import", str(file), "--dry-run", "--json", *there).stdout)
    assert (dry["num_imported"], dry["dry_run"]) == (1, True)
    for expected in ("num_imported", "num_duplicates"):
        assert json.loads(run("import", str(file), "--json", *there).stdout)[expected] == 1
    assert run("export", "-", "--text", *there).stdout == TEXT
    exported = [json.loads(run("export", "-", *folder).stdout)["conversations"] for folder in (here, there)]
    assert exported[0] == exported[1]
    identifier = exported[0][0]["id"]
    assert json.loads(run("export", "-", "--conversation", identifier, *here).stdout)["conversations"] == exported[0]


def test_invalid_conversation_is_named_and_ends_with_2(tmp_path: Path) -> None:
    result = run("import", "-", "--data-dir", str(tmp_path), stdin=TEXT + "=== Bad\n--- Robot\nBeep\n\n")
    assert result.exit_code == 2
    assert "invalid    2. (no title): messages[0]: role must be" in result.stdout
    assert "1 imported, 0 there already, 1 invalid." in result.stderr


def test_what_cannot_be_is_said_at_once(tmp_path: Path) -> None:
    folder = ("--data-dir", str(tmp_path))
    with pytest.raises(InvalidInputError, match="no database"):
        run("export", str(tmp_path / "out.json"), *folder)
    with pytest.raises(InvalidInputError, match="can't be read"):
        run("import", str(tmp_path / "none.json"), *folder)
    run("import", "-", *folder, stdin=TEXT)
    with pytest.raises(NotFoundError):
        run("export", str(tmp_path / "out.json"), "--conversation", "conv_x", *folder)
    with pytest.raises(InvalidInputError, match="can't be written"):
        run("export", str(tmp_path / "no" / "folder.json"), *folder)
    assert not (tmp_path / "out.json").exists()
