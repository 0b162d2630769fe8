"""The seed of a text for which nobody has set one."""

import secrets
from typing import Final

MAX_DRAWN_SEED: Final = 2**32 - 1  # short enough to read out, and exact in JavaScript


def drawn_seed() -> int:
    return secrets.randbelow(MAX_DRAWN_SEED + 1)
