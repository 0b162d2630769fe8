"""Identifiers: a prefix that says what they name, then 26 characters that sort by time and can't be guessed.

The 26 characters are a ULID: 48 bits of milliseconds since 1970 and 80 random bits, in Crockford's base 32
(lower case, without i, l, o, u).
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Final, Literal

IdKind = Literal["conversation", "message", "generation", "response", "key"]

PREFIXES: Final[Mapping[IdKind, str]] = {
    "conversation": "conv_",
    "message": "msg_",
    "generation": "gen_",
    "response": "resp_",
    "key": "key_",
}
MAX_ID_LENGTH: Final = 31  # of the longest prefix and 26 characters

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_NUM_CHARACTERS: Final = 26
# NOTE: 26 characters hold 130 bits and a ULID 128, so the first one is 0 to 7.
_ULID: Final = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}", re.ASCII)


class IdGenerator:
    """Makes ids that grow strictly within this process, also when the clock stands still or goes back.

    Several ids in one millisecond take the next milliseconds, each with 80 fresh random bits: counting up the random
    part instead, as ULID libraries do, would let whoever sees one id guess its neighbour.
    """

    def __init__(self, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._clock_ms = clock_ms
        self._last_ms = 0
        self._lock = Lock()

    def new_conversation_id(self) -> str:
        return self._new("conversation")

    def new_message_id(self) -> str:
        return self._new("message")

    def new_generation_id(self) -> str:
        return self._new("generation")

    def new_response_id(self) -> str:
        return self._new("response")

    def new_key_id(self) -> str:
        return self._new("key")

    def _new(self, kind: IdKind) -> str:
        with self._lock:
            self._last_ms = max(self._clock_ms(), self._last_ms + 1)
            value = self._last_ms << 80 | secrets.randbits(80)
        digits = (_ALPHABET[value >> shift & 31] for shift in range(5 * (_NUM_CHARACTERS - 1), -1, -5))
        return PREFIXES[kind] + "".join(digits)


def is_id(kind: IdKind, text: str) -> bool:
    """Whether `text` has the exact form of an id of this kind."""
    prefix = PREFIXES[kind]
    return text.startswith(prefix) and _ULID.fullmatch(text, len(prefix)) is not None
