"""The chat page and the OpenAPI page, from files in packages: both work without a network, under a strict policy."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response

from gpt2svc.api.openapi import describe
from gpt2svc.api.web_files import WebFile, WebFiles

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

# Ours runs no inline script and sets no inline style, and no string becomes markup or code: there is no policy that
# would let it (Trusted Types).
_WEB_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_READ = ["GET", "HEAD"]
_FOR_EVER = "public, max-age=31536000, immutable"


def _path(package: str, name: str) -> Path:
    return Path(str(files(package).joinpath(name)))


@cache  # reading them takes longer than all else that an app is made of, and they never change
def web_files() -> WebFiles:
    return WebFiles(_path("gpt2svc", "web"))


@router.api_route("/", methods=_READ)
async def home(request: Request) -> Response:
    web: WebFiles = request.app.state.web
    return _web_response(request, web.page, {"Content-Security-Policy": _WEB_POLICY, "Cache-Control": "no-cache"})


@router.api_route("/web/{path:path}", methods=_READ)
async def web_file(request: Request) -> Response:
    web: WebFiles = request.app.state.web
    file = web.files.get(request.scope["path"])
    if file is None:
        raise HTTPException(404)
    return _web_response(request, file, {"Cache-Control": _FOR_EVER})


def _web_response(request: Request, file: WebFile, headers: dict[str, str]) -> Response:
    headers = {**headers, "Vary": "Accept-Encoding"}
    if file.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.gzipped, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)


@router.api_route("/docs", methods=_READ)
async def docs() -> Response:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return FileResponse(_path("gpt2svc.api.assets", "docs.html"), media_type="text/html", headers=headers)


@router.api_route("/docs-assets/{name}", methods=_READ)
async def asset(name: str) -> Response:
    if name not in _ASSETS:
        raise HTTPException(404)
    package, file, media_type = _ASSETS[name]
    return FileResponse(_path(package, file), media_type=media_type, headers={"Cache-Control": "max-age=3600"})


@router.api_route("/openapi.json", methods=_READ)
async def openapi(request: Request) -> Response:
    return JSONResponse(describe(request.app))
