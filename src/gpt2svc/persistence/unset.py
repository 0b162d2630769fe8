"""A value that was not given, where None is a value of its own."""

from enum import Enum
from typing import Final


class Unset(Enum):
    """An enum, so that type checkers can tell `T | Unset` apart by identity."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
