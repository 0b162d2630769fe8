"""The service's settings: flags > GPT2SVC_* environment > .env > gpt2svc.toml > defaults.

Every value knows where it came from, so that a wrong one can be found. A name that no setting has is an error too: a
typing slip must not silently leave a default in force.
"""

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, StringConstraints, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from gpt2svc.engine.config import EngineConfig
from gpt2svc.errors import ConfigError
from gpt2svc.models.quantization import Quantization

ENV_PREFIX = "GPT2SVC_"
ENV_FILE = ".env"
TOML_FILE = "gpt2svc.toml"


def _check_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must hold printable characters only")
    return text


Name = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_check_printable)]


def default_data_dir() -> Path:
    """Where the platform keeps an application's data: the database and downloaded models live there."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "gpt2svc"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "gpt2svc"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "gpt2svc"


class Settings(BaseSettings):
    """Validated and frozen. Build it with `load_settings`, which also records each value's source."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    host: Name = Field("127.0.0.1", description="Address to listen on; one beyond loopback needs an API key.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    api_key: SecretStr | None = Field(
        None, description="Key that every request must carry, as a bearer token or X-API-Key; 16 to 512 characters."
    )
    allowed_hosts: Annotated[tuple[Name, ...], NoDecode] = Field(
        (), max_length=64, description="Further host names, comma-separated, that requests may name: a proxy's."
    )
    model: Name = Field(
        "starter", description='Default model: "starter", a hub name such as openai-community/gpt2, or a folder.'
    )
    chat_template: Path | None = Field(
        None, description="Jinja file that writes conversations for the default model, in place of the model's own."
    )
    data_dir: Path = Field(
        default_factory=default_data_dir, description="Folder of the database and downloaded models."
    )
    device: str = Field(
        "auto", description="auto, cpu, mps, cuda or cuda:<number>; auto takes CUDA, then MPS, then the CPU."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Arithmetic of the model.")
    quantize: Quantization = Field(
        "none", description="none, int8 or int4: weights in 8 or 4 bits are smaller, faster and a little less exact."
    )
    kernels: Literal["auto", "torch"] = Field(
        "auto", description="auto: those compiled for this CPU, where there are some; torch: everything through torch."
    )
    hub_endpoint: str | None = Field(
        None, max_length=2048, description="Base URL of the model hub; unset, huggingface_hub's own default."
    )

    max_num_seqs: int = Field(16, ge=1, le=512, description="Replies that one model writes at the same time.")
    speculation: Literal["auto", "off"] = Field(
        "auto", description="Several tokens a step where a text repeats itself; the replies are the same. off: never."
    )
    max_queued_requests: int = Field(256, ge=0, le=100_000, description="Replies that may wait for a place.")
    max_queued_tokens: int = Field(
        262_144, ge=1024, le=1_000_000_000, description="Prompt and reply tokens of all replies in progress or waiting."
    )
    max_key_share: float = Field(
        0.5, gt=0, le=1, description="Part of the replies and tokens in progress that one stored API key may have."
    )
    max_loaded_models: int = Field(2, ge=1, le=16, description="Models kept loaded, each in a process of its own.")
    prompt_max_messages: int = Field(10, ge=1, le=1000, description="Latest messages that make up a prompt.")
    prompt_max_tokens: int = Field(512, ge=16, le=100_000, description="Prompt tokens; older messages drop out first.")

    flush_interval_ms: int = Field(
        250, ge=10, le=1000, description="A reply's text is written at least this often: what a crash can cost."
    )
    sqlite_synchronous: Literal["FULL", "NORMAL"] = Field(
        "FULL", description="FULL survives a power cut; NORMAL may lose the last commits in one, never in a crash."
    )
    sse_ping_s: float = Field(15.0, ge=0.01, le=300, description="A comment goes out this often on a silent stream.")
    sse_send_timeout_s: float = Field(
        60.0, ge=1, le=3600, description="A reader that takes nothing for so long is let go."
    )
    drain_s: float = Field(10.0, ge=0, le=3600, description="How long a shutdown waits for replies in progress.")
    max_body_bytes: int = Field(1_048_576, ge=1024, le=67_108_864, description="Largest request body.")
    max_import_bytes: int = Field(33_554_432, ge=1024, le=1_073_741_824, description="Largest file that is imported.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe line logged.")
    log_format: Literal["text", "json"] = Field("text", description="Lines for people, or one JSON object a line.")

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load_settings` reads the other sources itself: merged in here, a value would forget where it came from.
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bool(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("true and false mean nothing here")  # noqa: TRY004 (pydantic wants ValueError)
        return value

    @field_validator("log_level", "dtype", "quantize", "kernels", "speculation", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("sqlite_synchronous", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("api_key")
    @classmethod
    def _check_api_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not 16 <= len(value.get_secret_value()) <= 512:
            raise ValueError(f"must have 16 to 512 characters, not {len(value.get_secret_value())}")
        if value is not None and not all("!" <= c <= "~" for c in value.get_secret_value()):
            raise ValueError("must hold printable ASCII characters only, without spaces: it travels in a header")
        return value

    @field_validator("device")
    @classmethod
    def _check_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", value):
            raise ValueError("must be auto, cpu, mps, cuda or cuda:<number>")
        return value

    @field_validator("hub_endpoint")
    @classmethod
    def _check_hub_endpoint(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("https", "http") or not urlsplit(value).hostname):
            raise ValueError("must be an http or https URL")
        return value

    @field_validator("chat_template", mode="before")
    @classmethod
    def _check_chat_template(cls, value: object) -> object:
        if value is None:
            return None
        if not isinstance(value, str | Path) or not str(value).strip() or "\x00" in str(value):
            raise ValueError("must name a file")
        return Path(value).expanduser().absolute()

    @field_validator("data_dir", mode="before")
    @classmethod
    def _check_data_dir(cls, value: object) -> object:
        if not isinstance(value, str | Path) or not str(value).strip() or str(value) == "." or "\x00" in str(value):
            raise ValueError("must name a folder of its own")
        return Path(value).expanduser().absolute()

    @property
    def database_path(self) -> Path:
        return self.data_dir / "gpt2svc.db"

    @property
    def models_dir(self) -> Path:
        return self.data_dir / "models"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def engine_config(self, max_num_seqs: int) -> EngineConfig:
        """What they say of an engine, for one of so many sequences."""
        return EngineConfig(
            max_num_seqs=max_num_seqs,
            is_speculation_enabled=self.speculation == "auto",
            is_native_enabled=self.kernels == "auto",
        )

    def source_of(self, name: str) -> str:
        """Where a value came from, for people: "flag --port", "environment GPT2SVC_PORT", "gpt2svc.toml", "default"."""
        return self._sources.get(name, "default")

    def with_sources(self, sources: Mapping[str, str]) -> Self:
        self._sources.update(sources)
        return self


def load_settings(**overrides: Any) -> Settings:
    """Merge all sources; `overrides` are the command line's flags, of which None means not given.

    Raises ConfigError naming the setting, its source and the limit.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    flags = {name: value for name, value in overrides.items() if value is not None}
    for found, source in (
        (_from_toml(Path(TOML_FILE)), TOML_FILE),
        (_from_env(_read_env_file(Path(ENV_FILE)), ENV_FILE), f"{ENV_FILE} {ENV_PREFIX}*"),
        (_from_env(os.environ, "the environment"), f"environment {ENV_PREFIX}*"),
        (_known(flags, "the command line"), "flag --*"),
    ):
        for name, value in found.items():
            values[name] = value
            sources[name] = source.replace("--*", f"--{name.replace('_', '-')}").replace("*", name.upper())
    try:
        return Settings(**values).with_sources(sources)
    except ValidationError as error:
        raise _config_error(error, sources) from None  # pydantic's own text would repeat a secret's neighbours


def _from_toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}.") from error
    try:
        return _known(tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error


def _read_env_file(path: Path) -> dict[str, str]:
    try:
        return {name: value for name, value in dotenv_values(path, encoding="utf-8").items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}.") from error


def _from_env(environ: Mapping[str, str], where: str) -> dict[str, Any]:
    """What is ours in it; an empty variable counts as not set: that is what a compose file passes on for one."""
    own = {name: value for name, value in environ.items() if name.upper().startswith(ENV_PREFIX)}
    _known({name[len(ENV_PREFIX) :].lower(): value for name, value in own.items()}, where, ENV_PREFIX)
    return {name[len(ENV_PREFIX) :].lower(): value for name, value in own.items() if value.strip()}


def _known(values: Mapping[str, Any], where: str, prefix: str = "") -> dict[str, Any]:
    for name in values:
        if name not in Settings.model_fields:
            shown = f"{prefix}{name.upper()}" if prefix else name
            nearest = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.5)
            hint = f" Did you mean {prefix}{nearest[0].upper() if prefix else nearest[0]}?" if nearest else ""
            raise ConfigError(f"{shown!r} in {where} is not a setting.{hint}", field=name)
    return dict(values)


def _config_error(error: ValidationError, sources: Mapping[str, str]) -> ConfigError:
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0])
    reason = first["msg"].removeprefix("Value error, ")
    for theirs, ours in (("Input should be", "must be"), ("String should", "must"), ("Value should", "must")):
        reason = reason.replace(theirs, ours)
    return ConfigError(f"The setting {name} (from {sources.get(name, 'default')}) is wrong: {reason}.", field=name)
