"""Who sent a request, as far as the service tells them apart: by their API key."""

from dataclasses import dataclass

from starlette.types import Scope as AsgiScope

from gpt2svc.persistence.records import SCOPES, Scope


@dataclass(frozen=True, slots=True)
class Identity:
    key_id: str = ""  # owner of conversations and replies; "" with the configured key, or none
    scopes: frozenset[Scope] = frozenset(SCOPES)


def identity_of(scope: AsgiScope) -> Identity:
    """As the key check has found it out."""
    found = scope.get("state", {}).get("identity")
    return found if isinstance(found, Identity) else Identity()
