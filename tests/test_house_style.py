"""What can be counted of the rules in CONTRIBUTING.md."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 300


def test_no_source_file_grows_over_300_lines() -> None:
    folders = ("src", "tests", "bench", "scripts", "alembic")
    files = [path for folder in folders for ending in ("*.py", "*.[ch]") for path in (ROOT / folder).rglob(ending)]
    assert len(files) > 500
    assert {str(path): n for path in files if (n := len(path.read_text("utf-8").splitlines())) > MAX_LINES} == {}


def test_package_files_stay_empty() -> None:
    packages = [*(ROOT / "src").rglob("__init__.py"), *(ROOT / "tests").rglob("__init__.py")]
    assert [str(path) for path in packages if path.read_text("utf-8")] == []
