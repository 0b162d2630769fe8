"""Which route answered a request: one of a few names, whatever paths clients think up."""

from starlette.types import Scope

UNMATCHED = "unmatched"


def route_template(scope: Scope) -> str:
    """E.g. "/api/conversations/{conversation_id}"; UNMATCHED for unknown paths and for what was refused before."""
    return getattr(scope.get("route"), "path", None) or UNMATCHED
