"""What the documents promise, held against the program."""

import re
import tomllib
from pathlib import Path

import pytest

from gpt2svc.config import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CHANGELOG.md"]


def test_the_configuration_page_lists_every_setting_with_its_default_and_meaning() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))
    assert set(rows) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        default, meaning = rows[name].split(" | ")
        assert meaning == field.description
        if name != "data_dir":
            value = field.get_default()
            assert default == ("" if value in (None, ()) else f"`{value}`")


def test_the_configuration_example_is_a_valid_file() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    Settings(**tomllib.loads(example))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", document.read_text("utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert missing == []


def test_every_command_of_the_readme_is_a_make_target_or_a_subcommand() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", readme)) <= targets
    from gpt2svc.cli.main import build_app

    app = build_app()
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    names |= {group.name for group in app.registered_groups if isinstance(group.name, str)}
    assert set(re.findall(r"^\s*(?:\.venv/bin/)?gpt2svc ([a-z]+)", readme, re.MULTILINE)) <= names
