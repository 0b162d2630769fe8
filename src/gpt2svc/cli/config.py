"""`gpt2svc config show`: each setting, its value, and where that came from."""

from typing import TYPE_CHECKING, Any

import typer

from gpt2svc.cli.flags import AsOneJsonObject
from gpt2svc.cli.output import write_json, write_table

if TYPE_CHECKING:
    from gpt2svc.config import Settings

MASK = "********"

config_app = typer.Typer(help="Look at the service's settings.", no_args_is_help=True)


@config_app.callback()
def _root() -> None:
    """Look at the service's settings."""


@config_app.command()
def show(as_json: AsOneJsonObject = False) -> None:
    """Show each setting's value and source: GPT2SVC_* variables win over .env, that over gpt2svc.toml, and defaults."""
    from gpt2svc.config import load_settings

    rows = describe_settings(load_settings())
    if as_json:
        write_json({row["name"]: {key: row[key] for key in ("value", "source", "help")} for row in rows})
        return
    write_table([(row["name"], _shown(row["value"]), row["source"]) for row in rows])


def describe_settings(settings: "Settings") -> list[dict[str, Any]]:
    """One entry a setting: name, value (as JSON holds it; secrets masked), source, help."""
    values = settings.model_dump(mode="json")
    if settings.api_key is not None:
        values["api_key"] = MASK
    return [
        {"name": name, "value": values[name], "source": settings.source_of(name), "help": field.description or ""}
        for name, field in type(settings).model_fields.items()
    ]


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "-"
    return ",".join(value) if isinstance(value, list) else str(value)
