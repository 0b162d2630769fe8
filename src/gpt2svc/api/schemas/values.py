"""The kinds of value that request bodies hold, each refusing what JSON can say and we can't keep.

pydantic is strict here: no number from a string or a boolean, no string from a number. A string never holds NUL, which
databases refuse, or half a surrogate pair, which no encoding can write.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from gpt2svc.chat.conversations import MAX_MODEL_NAME_LENGTH


class RequestBody(BaseModel):
    """Unknown fields are errors: a misspelt setting must not be taken for one that was left out."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _refuse_unstorable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold a NUL character")
    # NOTE: pydantic refuses these itself for some kinds of string and not for others.
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not hold a lone surrogate, which is not valid Unicode")
    return text


def _refuse_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _as_int(value: Any) -> Any:
    """50.0 is a whole number to JSON, and some languages write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, Strict(), AfterValidator(_refuse_unstorable)]
FilledText = Annotated[Text, AfterValidator(_refuse_blank), Field(json_schema_extra={"minLength": 1, "pattern": r"\S"})]
ModelName = Annotated[FilledText, Field(max_length=MAX_MODEL_NAME_LENGTH)]
# A whole number is Annotated[int, Strict(), <its limits>, AS_INT]: limits after AS_INT would be lost to OpenAPI.
AS_INT = BeforeValidator(_as_int)
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
