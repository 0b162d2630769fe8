"""`gpt2svc keys` on a data folder of its own, and beside a service that runs."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from gpt2svc.app import create_app
from gpt2svc.cli.keys import keys_app
from gpt2svc.cli.serve import require_key_beyond_loopback
from gpt2svc.config import Settings
from gpt2svc.errors import ConfigError, NotFoundError
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.tokenizer import write_tokenizer_folder


def _run(data_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(keys_app, [*arguments, "--data-dir", str(data_dir)], catch_exceptions=False)


def test_a_key_is_printed_alone_and_only_once(tmp_path: Path) -> None:
    created = _run(tmp_path, "create", "laptop")
    secret = created.stdout.strip()
    assert secret.startswith("g2s_")
    assert "shown again" in created.stderr
    listed = _run(tmp_path, "list").stdout
    assert "laptop" in listed
    assert secret not in listed


def test_json_gives_programs_the_same(tmp_path: Path) -> None:
    created = json.loads(_run(tmp_path, "create", "ci", "--scope", "chat", "--scope", "admin", "--json").stdout)
    assert created["scopes"] == ["chat", "admin"]
    assert created["secret"].startswith("g2s_")
    [listed] = json.loads(_run(tmp_path, "list", "--json").stdout)
    assert listed == {name: value for name, value in created.items() if name != "secret"}
    revoked = json.loads(_run(tmp_path, "revoke", created["id"], "--json").stdout)
    assert revoked["revoked_at"] is not None
    _run(tmp_path, "revoke", created["id"], "--forget")
    assert json.loads(_run(tmp_path, "list", "--json").stdout) == []


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="No key has the id 'key_x'"):
        _run(tmp_path, "revoke", "key_x")


def test_a_stored_key_is_enough_beyond_loopback_while_it_is_in_force(tmp_path: Path) -> None:
    settings = Settings(host="0.0.0.0", data_dir=tmp_path)
    with pytest.raises(ConfigError, match="keys create"):
        require_key_beyond_loopback(settings)
    key = json.loads(_run(tmp_path, "create", "laptop", "--json").stdout)
    require_key_beyond_loopback(settings)
    _run(tmp_path, "revoke", key["id"])
    with pytest.raises(ConfigError):
        require_key_beyond_loopback(settings)


async def test_a_running_service_heeds_created_and_revoked_keys_at_once(tmp_path: Path) -> None:
    engine = ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(tmp_path / "tokenizer")))
    data_dir = tmp_path / "data"
    app = create_app(Settings(data_dir=data_dir, model="tiny"), engines=ScriptedPool(engine))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):

        async def status(secret: str) -> int:
            return (await client.get("/api/conversations", headers={"X-API-Key": secret})).status_code

        async def heeds(secret: str, expected: int) -> bool:
            return await status(secret) == expected

        for _ in range(3):  # with writes of the service's own in between
            created = await asyncio.to_thread(_run, data_dir, "create", "laptop", "--json")
            key = json.loads(created.stdout)
            await until(lambda secret=key["secret"]: heeds(secret, 200))
            headers = {"X-API-Key": key["secret"]}
            revoking = asyncio.to_thread(_run, data_dir, "revoke", key["id"])
            posts = (client.post("/api/conversations", json={}, headers=headers) for _ in range(20))
            *responses, _ = await asyncio.gather(*posts, revoking)
            assert {response.status_code for response in responses} <= {201, 401}
            await until(lambda secret=key["secret"]: heeds(secret, 401))
