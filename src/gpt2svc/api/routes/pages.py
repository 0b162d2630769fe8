"""The OpenAPI page, from files in installed packages: it works without a network, and under a strict policy."""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response

from gpt2svc.api.openapi import describe

router = APIRouter(include_in_schema=False)

# Name in the URL: the package that has the file, its name there, its type.
_ASSETS = {
    "swagger-ui-bundle.js": ("fastapi_swagger.resources", "swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": ("fastapi_swagger.resources", "swagger-ui.css", "text/css"),
    "favicon.png": ("fastapi_swagger.resources", "favicon-32x32.png", "image/png"),
    "docs.js": ("gpt2svc.api.assets", "docs.js", "text/javascript"),
}
PATHS = frozenset({"/", "/docs", "/openapi.json", *(f"/docs-assets/{name}" for name in _ASSETS)})

# Swagger UI sets style attributes, and its icons are data: URLs; it runs no inline script and no eval.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _path(package: str, name: str) -> Path:
    return Path(str(files(package).joinpath(name)))


@router.get("/")
async def home() -> Response:
    return RedirectResponse("/docs")


@router.get("/docs")
async def docs() -> Response:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return FileResponse(_path("gpt2svc.api.assets", "docs.html"), media_type="text/html", headers=headers)


@router.get("/docs-assets/{name}")
async def asset(name: str) -> Response:
    if name not in _ASSETS:
        raise HTTPException(404)
    package, file, media_type = _ASSETS[name]
    return FileResponse(_path(package, file), media_type=media_type, headers={"Cache-Control": "max-age=3600"})


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    return JSONResponse(describe(request.app))
