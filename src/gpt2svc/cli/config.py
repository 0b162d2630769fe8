"""`gpt2svc config show`: each setting, its value, and where that came from."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt2svc.cli.output import write, write_json

if TYPE_CHECKING:
    from gpt2svc.config import Settings

MASK = "********"

config_app = typer.Typer(help="Look at the service's settings.", no_args_is_help=True)


@config_app.callback()
def _root() -> None:
    """Look at the service's settings."""


@config_app.command()
def show(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show each setting's value and source: GPT2SVC_* variables win over .env, that over gpt2svc.toml, and defaults."""
    from gpt2svc.config import load_settings

    rows = describe_settings(load_settings())
    if as_json:
        write_json({row["name"]: {key: row[key] for key in ("value", "source", "help")} for row in rows})
        return
    name_width = max(len(row["name"]) for row in rows)
    value_width = max(len(_shown(row["value"])) for row in rows)
    for row in rows:
        write(f"{row['name']:<{name_width}}  {_shown(row['value']):<{value_width}}  {row['source']}")


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
