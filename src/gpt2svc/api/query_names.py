"""One rule for queries: a name that a route does not have is an error, as an unknown field of a body is.

A slip of the pen must not silently mean the default.
"""

from fastapi import FastAPI, Request

from gpt2svc.api.openapi import describe
from gpt2svc.errors import InvalidInputError


async def require_known_query(request: Request) -> None:
    """For every route of the API page. Raises InvalidInputError, which /v1 answers with 400 and others with 422."""
    if not request.scope["query_string"]:
        return
    known = query_names(request.app, request.scope["route"].path_format, request.method)
    unknown = next((name for name in request.query_params if known is not None and name not in known), None)
    if unknown is not None:
        raise InvalidInputError(f"{unknown[:100]} is not a query parameter of this request.", field=unknown)


def query_names(app: FastAPI, template: str, method: str) -> frozenset[str] | None:
    """What the document lists for the operation; None where it does not list the operation, such as a page."""
    operation = describe(app)["paths"].get(template, {}).get(method.lower())
    if operation is None:
        return None
    return frozenset(each["name"] for each in operation.get("parameters", ()) if each["in"] == "query")
