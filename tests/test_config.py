import json
from pathlib import Path

import pytest

from gpt2svc.cli.config import describe_settings
from gpt2svc.cli.main import run
from gpt2svc.config import Settings, default_data_dir, load_settings
from gpt2svc.errors import ConfigError


@pytest.fixture(autouse=True)
def _empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without .env and gpt2svc.toml, and an environment without settings."""
    import os

    for name in list(os.environ):
        if name.upper().startswith("GPT2SVC_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_each_source_wins_over_the_ones_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (load_settings().port, load_settings().source_of("port")) == (8000, "default")
    (tmp_path / "gpt2svc.toml").write_text("port = 1001\n")
    assert (load_settings().port, load_settings().source_of("port")) == (1001, "gpt2svc.toml")
    (tmp_path / ".env").write_text("GPT2SVC_PORT=1002\nOTHER_PROGRAM=1\n")
    assert (load_settings().port, load_settings().source_of("port")) == (1002, ".env GPT2SVC_PORT")
    monkeypatch.setenv("GPT2SVC_PORT", "1003")
    assert (load_settings().port, load_settings().source_of("port")) == (1003, "environment GPT2SVC_PORT")
    flagged = load_settings(port=1004, host=None)
    assert (flagged.port, flagged.source_of("port"), flagged.source_of("host")) == (1004, "flag --port", "default")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "limit"),
    [
        ("port", "65536", "65535"),
        ("port", "-1", "0"),
        ("port", "eighty", "integer"),
        ("host", "", "default"),
        ("device", "gpu", "auto, cpu, mps, cuda or cuda:<number>"),
        ("dtype", "int8", "bfloat16"),
        ("speculation", "on", "auto"),
        ("api_key", "short", "16 to 512"),
        ("api_key", "with spaces in the key", "printable ASCII"),
        ("max_num_seqs", "0", "1"),
        ("max_num_seqs", "513", "512"),
        ("max_queued_requests", "-1", "0"),
        ("max_queued_tokens", "1023", "1024"),
        ("max_loaded_models", "0", "1"),
        ("prompt_max_messages", "0", "1"),
        ("prompt_max_tokens", "15", "16"),
        ("flush_interval_ms", "1001", "1000"),
        ("sse_ping_s", "0", "0.01"),
        ("sse_send_timeout_s", "0.5", "1"),
        ("drain_s", "nan", "finite"),
        ("max_body_bytes", "1023", "1024"),
        ("log_level", "loud", "debug"),
        ("log_format", "xml", "json"),
        ("sqlite_synchronous", "OFF", "FULL"),
        ("hub_endpoint", "ftp://example.org", "http"),
        ("model", "a\nb", "printable"),
        ("data_dir", ".", "folder"),
    ],
)
def test_wrong_value_names_setting_source_and_limit(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, limit: str
) -> None:
    if value == "":
        monkeypatch.setenv(f"GPT2SVC_{name.upper()}", value)
        assert load_settings().source_of(name) == limit
        return
    monkeypatch.setenv(f"GPT2SVC_{name.upper()}", value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.field == name
    for part in (name, f"environment GPT2SVC_{name.upper()}", limit):
        assert part in caught.value.message
    if name == "api_key":
        assert value not in caught.value.message


@pytest.mark.parametrize(
    ("where", "text", "words"),
    [
        ("gpt2svc.toml", "prot = 1", ("'prot'", "gpt2svc.toml", "Did you mean port?")),
        ("gpt2svc.toml", "[service]\nport = 1", ("'service'", "gpt2svc.toml")),
        ("gpt2svc.toml", "port = ", ("gpt2svc.toml", "TOML")),
        ("gpt2svc.toml", "port = true", ("port", "gpt2svc.toml")),
        (".env", "GPT2SVC_MODLE=x", ("'GPT2SVC_MODLE'", ".env", "Did you mean GPT2SVC_MODEL?")),
    ],
)
def test_unknown_and_unreadable_names_are_errors_that_help(
    tmp_path: Path, where: str, text: str, words: tuple[str, ...]
) -> None:
    (tmp_path / where).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    for word in words:
        assert word in caught.value.message


def test_unknown_variable_is_an_error_even_when_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPT2SVC_MAX_NUM_SEQ", "")
    with pytest.raises(ConfigError, match=r"Did you mean GPT2SVC_MAX_NUM_SEQS\?"):
        load_settings()


def test_data_folder_follows_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert default_data_dir() == tmp_path / "share" / "gpt2svc"
    settings = load_settings(data_dir="here")
    assert settings.data_dir == tmp_path / "here"
    assert settings.database_path.parent == settings.models_dir.parent == settings.data_dir


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.2", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback_is_known_by_address(host: str, is_loopback: bool) -> None:
    assert Settings(host=host).is_loopback is is_loopback


def test_allowed_hosts_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPT2SVC_ALLOWED_HOSTS", "chat.example, other.example,")
    assert load_settings().allowed_hosts == ("chat.example", "other.example")


def test_show_lists_every_setting_with_its_source_and_masks_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPT2SVC_API_KEY", "secret-secret-secret")
    monkeypatch.setenv("GPT2SVC_PORT", "1234")
    assert run(["config", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown.keys() == Settings.model_fields.keys()
    assert (shown["port"]["value"], shown["port"]["source"]) == (1234, "environment GPT2SVC_PORT")
    assert run(["config", "show"]) == 0
    table = capsys.readouterr().out
    assert "environment GPT2SVC_API_KEY" in table
    assert "secret" not in table + json.dumps(shown)


def test_every_setting_is_described() -> None:
    assert all(row["help"] for row in describe_settings(load_settings()))


def test_wrong_setting_ends_the_command_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPT2SVC_PORT", "x")
    assert run(["config", "show"]) == 2
    assert "GPT2SVC_PORT" in capsys.readouterr().err
