"""The secret of an API key: drawn here, shown once, and kept only as a digest."""

import secrets
from hashlib import sha256
from typing import Final

SECRET_PREFIX: Final = "g2s_"  # noqa: S105 (lets scanners of source code find keys that leaked into it)
_NUM_BYTES: Final = 32


def new_secret() -> str:
    """256 random bits in URL-safe characters, after SECRET_PREFIX."""
    return SECRET_PREFIX + secrets.token_urlsafe(_NUM_BYTES)


def secret_digest(secret: str) -> str:
    """SHA-256 in hex. A secret of 256 random bits can't be guessed, so a slow, salted hash would protect nothing."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
