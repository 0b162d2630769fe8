"""Checks of single settings' values: what JSON, flags and stored rows may hold, in the type that a setting has."""

import math
from collections.abc import Mapping
from typing import Any

from gpt2svc.engine.sampling_params import EarlyStopping
from gpt2svc.errors import InvalidInputError

MAX_STOP_STRINGS = 8
MAX_STOP_LENGTH = 64  # characters
MAX_LOGIT_BIAS = 300  # entries


def checked_number(
    field: str, value: Any, kind: type[int] | type[float], minimum: float, maximum: float
) -> int | float:
    if kind is int:
        return checked_int(field, value, int(minimum), int(maximum))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(f"{field} must be a number, not {type(value).__name__}.", field=field)
    # NOTE: compare before float(): an int of 400 digits would overflow, and NaN fails every comparison.
    if not (minimum <= value <= maximum) or not math.isfinite(value):
        raise InvalidInputError(f"{field} must be from {minimum:g} to {maximum:g}.", field=field)
    return float(value)


def checked_int(field: str, value: Any, minimum: int, maximum: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON writers in some languages send 50.0
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInputError(f"{field} must be a whole number.", field=field)
    if not minimum <= value <= maximum:
        raise InvalidInputError(f"{field} must be from {minimum} to {maximum}.", field=field)
    return value


def checked_stop(field: str, value: Any) -> tuple[str, ...]:
    strings = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(strings, list | tuple) or not all(isinstance(s, str) for s in strings):
        raise InvalidInputError(f"{field} must be a string or a list of strings.", field=field)
    if len(strings) > MAX_STOP_STRINGS:
        raise InvalidInputError(f"{field} takes at most {MAX_STOP_STRINGS} strings, not {len(strings)}.", field=field)
    for s in strings:
        if not 1 <= len(s) <= MAX_STOP_LENGTH:
            raise InvalidInputError(
                f"Each string of {field} must have 1 to {MAX_STOP_LENGTH} characters, not {len(s)}.", field=field
            )
        if "\x00" in s or any("\ud800" <= c <= "\udfff" for c in s):
            raise InvalidInputError(f"{field} holds a NUL or a lone surrogate.", field=field)
    return tuple(dict.fromkeys(strings))


def checked_logit_bias(field: str, value: Any) -> tuple[tuple[int, float], ...]:
    pairs = [] if value is None else list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, list | tuple):
        raise InvalidInputError(f"{field} must map token ids to numbers.", field=field)
    if len(pairs) > MAX_LOGIT_BIAS:
        raise InvalidInputError(f"{field} takes at most {MAX_LOGIT_BIAS} entries, not {len(pairs)}.", field=field)
    checked: dict[int, float] = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InvalidInputError(f"{field} must map token ids to numbers.", field=field)
        token, bias = pair
        if isinstance(token, str) and token.isascii() and token.isdigit() and len(token) <= 9:
            token = int(token)
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < 2**31:
            raise InvalidInputError(f"{field} has a key that is no token id.", field=field)
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 100:
            raise InvalidInputError(f"Each value of {field} must be from -100 to 100.", field=field)
        checked[token] = float(bias)
    return tuple(sorted(checked.items()))


def checked_bool(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidInputError(f"{field} must be true or false.", field=field)
    return value


def checked_early_stopping(field: str, value: Any) -> EarlyStopping:
    if isinstance(value, bool):
        return value
    if value == "never":
        return "never"
    raise InvalidInputError(f'{field} must be true, false or "never".', field=field)
