from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from gpt2svc.errors import StorageError
from gpt2svc.persistence.migration_scripts import HEAD_REVISION, MigrationScripts, locate_migrations

ROOT = Path(__file__).parents[2]


def _make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "env.py").touch()
    return folder


def test_a_source_checkout_has_its_scripts_at_the_root() -> None:
    assert MigrationScripts.bundled().folder == ROOT / "alembic"


def test_an_installed_package_has_its_scripts_inside(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "gpt2svc" / "persistence"
    migrations = _make(package / "migrations")
    _make(tmp_path / "alembic")  # not ours: perhaps the library's own
    assert locate_migrations(package) == migrations


def test_an_installation_without_scripts_says_so(tmp_path: Path) -> None:
    _make(tmp_path / "alembic")
    with pytest.raises(StorageError, match="incomplete"):
        locate_migrations(tmp_path / "lib" / "gpt2svc" / "persistence")


def test_the_stated_head_is_the_newest_script() -> None:
    config = Config()
    config.set_main_option("script_location", str(MigrationScripts.bundled().folder))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD_REVISION]
