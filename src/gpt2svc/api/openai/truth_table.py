"""Which parameters of a request are honoured, within which limits: read off the request schemas themselves."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from gpt2svc.api.schemas.openai_models import ParameterOut
from gpt2svc.api.schemas.openai_parameters import PASSING, UNSUPPORTED
from gpt2svc.generation.settings import SamplingSettings


def truth_table(
    schema: type[BaseModel], settings: SamplingSettings | None, model_limits: Mapping[str, int], **defaults: Any
) -> dict[str, ParameterOut]:
    """By parameter; `defaults` are those that are no settings. `model_limits`: where a model allows less than the
    schema does.
    """
    table: dict[str, ParameterOut] = {}
    passing = (PASSING - getattr(schema, "HONOURED", frozenset())) | getattr(schema, "ACCEPTED", frozenset())
    known = {**(settings.to_mapping() if settings is not None else {}), **defaults}
    for name, field in schema.model_json_schema()["properties"].items():
        limits = _limits(field)
        table[name] = ParameterOut(
            support="unsupported" if field.get("type") == "null" else "accepted" if name in passing else "honoured",
            minimum=limits.get("minimum"),
            maximum=min(limits["maximum"], model_limits.get(name, limits["maximum"])) if "maximum" in limits else None,
            default=known.get(name),
            note=field.get("description", ""),
        )
    if settings is None:
        return table  # no request for text: other names are simply unknown
    for name in sorted((UNSUPPORTED | PASSING) - table.keys()):
        table[name] = ParameterOut(
            support="unsupported", minimum=None, maximum=None, default=None, note="Refused with 400 unless null."
        )
    return table


def _limits(field: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the kind of value that has some."""
    return next((kind for kind in (field, *field.get("anyOf", ())) if "minimum" in kind or "maximum" in kind), {})
