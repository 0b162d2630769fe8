"""What the documents promise, held against the program."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from gpt2svc.api.openapi import describe
from gpt2svc.app import create_app
from gpt2svc.cli.main import build_app
from gpt2svc.config import ENV_PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CHANGELOG.md"]
FOLDERS = ("src", "tests", "bench", "scripts", "alembic")


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
    app = build_app()
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    names |= {group.name for group in app.registered_groups if isinstance(group.name, str)}
    assert set(re.findall(r"^\s*(?:\.venv/bin/)?gpt2svc ([a-z]+)", readme, re.MULTILINE)) <= names


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    """Of each command: "keys create" has {"--scope", …}."""
    found: dict[str, set[str]] = {}

    def look(command: Any, path: tuple[str, ...]) -> None:
        for name, subcommand in getattr(command, "commands", {}).items():
            look(subcommand, (*path, name))
        if not hasattr(command, "commands"):
            found[" ".join(path)] = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}

    look(typer.main.get_command(build_app()), ())
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_their_flags_exist(document: Path, flags: dict[str, set[str]]) -> None:
    text = document.read_text("utf-8").replace("\\\n", " ")
    for words, rest in re.findall(
        r"(?:^ *|`|bin/|&& )gpt2svc ([a-z][a-z-]+(?: [a-z-]+)?)([^`|#&\n]*)", text, re.MULTILINE
    ):
        name = words if words in flags else words.split()[0]
        if any(each.startswith(f"{name} ") for each in flags):
            continue  # "gpt2svc keys": a group
        assert name in flags, f"gpt2svc {words}"
        unknown = set(re.findall(r"(?<!\S)--[a-z0-9-]+", rest)) - flags[name] - {"--help"}
        assert not unknown, f"gpt2svc {name} {unknown}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_and_source_files_that_are_named_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    assert {name.lower() for name in re.findall(rf"{ENV_PREFIX}([A-Z_]+)", text)} <= set(Settings.model_fields)
    files = [f"/{path.relative_to(ROOT)}" for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")]
    named = re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|c|js|css))`", text)
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Of the API, as "GET /api/conversations/{}"."""
    document = describe(create_app(Settings(data_dir=tmp_path_factory.mktemp("app"))))
    pages = {"GET /docs", "GET /openapi.json"}
    return pages | {
        f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}"
        for path, item in document["paths"].items()
        for method in item
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_routes_that_are_named_exist(document: Path, paths: set[str]) -> None:
    named = re.findall(r"\b((?:GET|POST|PATCH|DELETE) /[\w/{}.-]*\w}?)", document.read_text("utf-8"))
    assert [route for route in named if re.sub(r"{[^}]*}", "{}", route) not in paths] == []
