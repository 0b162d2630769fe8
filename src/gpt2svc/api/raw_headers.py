"""Headers as they stand in an ASGI scope: looked at by every layer, for every request, so without an object each."""

from starlette.types import Scope


def first_header(scope: Scope, name: bytes) -> str | None:
    """The first value under `name`, which is in lower case, as servers hand headers on; None where there is none."""
    for found, value in scope["headers"]:
        if found == name:
            return str(value, "latin-1")
    return None
