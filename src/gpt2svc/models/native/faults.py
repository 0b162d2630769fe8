"""What csrc/check.c found wrong with a step, in words."""

from enum import IntEnum
from typing import Final

from gpt2svc.models.native.structures import FaultStruct


class Fault(IntEnum):
    """csrc/forward.h."""

    MEMORY = 1
    CACHE = 2
    COUNT = 3
    TOKEN_ID = 4
    SLOT = 5
    POSITION = 6
    LOGIT_ROW = 7
    HIDDEN_ROW = 8
    QUERY_ROWS = 9
    QUERIES = 10


_NUMBERS: Final = {
    Fault.TOKEN_ID: "token id",
    Fault.SLOT: "cache slot",
    Fault.POSITION: "position",
    Fault.LOGIT_ROW: "row of logits",
    Fault.HIDDEN_ROW: "row of hidden states",
}
_COUNTS: Final = ("rows", "groups of queries", "rows of logits", "rows of hidden states")
_CACHE_SIZES: Final = ("layers", "heads", "dimensions of a head", "positions")


def fault_message(fault: FaultStruct) -> str:
    """Which number of the step was out of range, and its limit."""
    kind = Fault(fault.kind)
    index, value, limit = fault.index, fault.value, fault.limit
    if kind in _NUMBERS:
        return f"A step's {_NUMBERS[kind]} (number {index} of them) is {value}, which is not within 0 to {limit}."
    match kind:
        case Fault.MEMORY:
            return f"There is no memory for a step: it needs {value} bytes."
        case Fault.CACHE:
            return f"The KV cache is another model's: it has {value} {_CACHE_SIZES[index]}, and this model has {limit}."
        case Fault.COUNT:
            return f"A step has {value} {_COUNTS[index]}, which is not within 0 to {limit}."
        case Fault.QUERY_ROWS:
            return f"A step's group of queries (number {index}) has {value} rows, which is not within 1 to {limit}."
        case _:
            return (
                f"A step's groups of queries don't fit its rows: number {index} begins at row {value} and should at "
                f"{limit}, or its rows are not neighbours in one slot."
            )
