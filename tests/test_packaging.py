"""The wheel is what users get: it must hold everything that the program needs at run time, and nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from gpt2svc.persistence.migration_scripts import HEAD_REVISION

# Building compiles the kernels for every kind of processor, which takes a busy machine its time.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[1]
MAX_STARTER_BYTES = 30_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    [path] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return zipfile.ZipFile(path)


def test_the_wheel_holds_what_runs(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert "gpt2svc/py.typed" in names
    assert "gpt2svc/persistence/migrations/env.py" in names
    scripts = {f"gpt2svc/persistence/migrations/versions/{p.name}" for p in (ROOT / "alembic/versions").glob("*.py")}
    assert scripts
    assert scripts <= names
    for file in (ROOT / "src" / "gpt2svc").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert f"gpt2svc/{file.relative_to(ROOT / 'src' / 'gpt2svc').as_posix()}" in names


def test_the_wheel_holds_the_starter_within_its_limit(wheel: zipfile.ZipFile) -> None:
    sizes = {Path(i.filename).name: i.file_size for i in wheel.infolist() if i.filename.startswith("gpt2svc/starter/")}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= sizes.keys()
    assert sum(sizes.values()) <= MAX_STARTER_BYTES


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert len(tops) == 2
    assert "gpt2svc" in tops
    assert not [name for name in wheel.namelist() if "__pycache__" in name or name.endswith(".pyc")]
    assert not [name for name in wheel.namelist() if name.startswith("tests/")]


def test_the_wheel_carries_the_migrations_and_creates_a_database_with_them(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    assert f"gpt2svc/persistence/migrations/versions/{HEAD_REVISION}.py" in wheel.namelist()
    wheel.extractall(tmp_path / "site")
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


def test_the_wheel_says_how_it_is_run_and_licensed(wheel: zipfile.ZipFile) -> None:
    [info] = {name.split("/")[0] for name in wheel.namelist()} - {"gpt2svc"}
    assert "gpt2svc = gpt2svc.cli.main:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert wheel.read(f"{info}/licenses/LICENSE").startswith(b"MIT License")
