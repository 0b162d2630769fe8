"""Starts that must fail, each with one clear line and exit code 2, and the start that must be quick to answer."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.service import Service, clean_environment, wait_until
from tests.e2e.starter import STARTER


def run_serve(*flags: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpt2svc", "serve", "--port", "0", "--data-dir", str(cwd / "data"), *flags],
        env=clean_environment(),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error's one line, having checked that nothing else went wrong."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    [line] = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    return line


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "config.json" in the_line(run_serve("--model", str(tmp_path / "empty"), cwd=tmp_path))


def starter_copy(folder: Path, *, without: str = "") -> Path:
    folder.mkdir()
    for file in STARTER.iterdir():
        if file.is_file() and file.name != without:
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = starter_copy(tmp_path / "model", without="tokenizer.json")
    assert "tokenizer.json" in the_line(run_serve("--model", str(folder), cwd=tmp_path))


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    folder = starter_copy(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "model.safetensors" in the_line(run_serve("--model", str(folder), cwd=tmp_path))


def test_pickle_weights_are_refused_with_a_way_out(tmp_path: Path) -> None:
    folder = starter_copy(tmp_path / "model", without="model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert "gpt2svc convert" in the_line(run_serve("--model", str(folder), cwd=tmp_path))


def test_a_config_that_asks_for_code_is_refused(tmp_path: Path) -> None:
    folder = starter_copy(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    assert "code" in the_line(run_serve("--model", str(folder), cwd=tmp_path))


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    database = tmp_path / "data" / "gpt2svc.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    before = database.read_bytes()
    assert "gpt2svc.db" in the_line(run_serve(cwd=tmp_path))
    assert database.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    database = tmp_path / "data" / "gpt2svc.db"
    database.write_text("Dear diary, " * 500)
    the_line(run_serve(cwd=tmp_path))
    assert database.read_text().startswith("Dear diary")


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    upgrade = [sys.executable, "-m", "gpt2svc", "db", "upgrade", "--data-dir", str(tmp_path / "data")]
    subprocess.run(upgrade, env=clean_environment(), cwd=tmp_path, check=True, capture_output=True)
    with sqlite3.connect(tmp_path / "data" / "gpt2svc.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "newer" in the_line(run_serve(cwd=tmp_path))


def test_beyond_loopback_without_a_key_is_refused(tmp_path: Path) -> None:
    assert "GPT2SVC_API_KEY" in the_line(run_serve("--host", "0.0.0.0", cwd=tmp_path))


@pytest.mark.parametrize(("flag", "value"), [("--port", "99999"), ("--dtype", "int3"), ("--device", "toaster")])
def test_a_wrong_setting_is_named(tmp_path: Path, flag: str, value: str) -> None:
    assert flag in the_line(run_serve(flag, value, cwd=tmp_path))


def test_a_data_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    assert "data" in the_line(run_serve(cwd=tmp_path))


def test_a_second_service_on_the_same_data_is_refused_and_the_first_goes_on(data_dir: Path) -> None:
    with Service(data_dir) as service:
        service.wait_for("/livez")
        done = subprocess.run(
            [sys.executable, "-m", "gpt2svc", "serve", "--port", "0", "--data-dir", str(data_dir)],
            env=clean_environment(),
            cwd=data_dir.parent,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert str(data_dir) in the_line(done)
        assert service.client.get("/livez").status_code == 200


def test_a_port_in_use_is_refused(data_dir: Path, tmp_path: Path) -> None:
    with Service(data_dir) as service:
        service.wait_for("/livez")
        other = tmp_path / "other"
        other.mkdir()
        assert str(service.port) in the_line(run_serve("--port", str(service.port), cwd=other))


def test_the_api_answers_while_the_model_still_loads(data_dir: Path) -> None:
    with Service(data_dir) as service:
        service.wait_for("/livez")
        conversation_id = service.new_conversation(title="early")
        response = service.client.get("/readyz")
        assert response.status_code in (200, 503)
        path = f"/api/conversations/{conversation_id}/messages"
        reply = service.client.post(path, json={"content": "Hello", "settings": {"max_new_tokens": 4}})
        assert reply.json()["status"] == "completed"


def test_with_a_key_every_request_needs_it(data_dir: Path) -> None:
    key = "correct-horse-battery"
    with Service(data_dir, environment={"GPT2SVC_API_KEY": key}) as service:
        service.wait_for("/livez")
        assert service.client.get("/api/conversations").status_code == 401
        assert service.client.get("/api/conversations", headers={"Authorization": "Bearer wrong"}).status_code == 401
        accepted = service.client.get("/api/conversations", headers={"Authorization": f"Bearer {key}"})
        assert accepted.status_code == 200
        wait_until(lambda: "is up at" in service.log, lambda: service.log)
        assert key not in service.log
