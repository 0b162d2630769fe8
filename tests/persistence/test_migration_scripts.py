import os
import subprocess
import sys
import zipfile
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


@pytest.mark.slow
def test_a_wheel_carries_the_scripts_and_creates_a_database_with_them(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert f"gpt2svc/persistence/migrations/versions/{HEAD_REVISION}.py" in names
    assert not [name for name in names if name.endswith(".pyc")]
    upgrade = (
        "import asyncio, sys; from pathlib import Path; from gpt2svc.persistence.database import Database\n"
        "async def main():\n"
        "    database = Database(Path(sys.argv[1]))\n"
        "    print((await database.open()).to_revision)\n"
        "    await database.close()\n"
        "asyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", upgrade, str(tmp_path / "gpt2svc.db")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{HEAD_REVISION}\n"
