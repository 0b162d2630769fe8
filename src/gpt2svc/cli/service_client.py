"""A client of a running service, for commands that take its address (--url)."""

from typing import TYPE_CHECKING

from gpt2svc.errors import InvalidInputError

if TYPE_CHECKING:
    import httpx


def open_service_client(url: str, api_key: str | None, *, timeout_s: float = 5.0) -> "httpx.Client":
    """The caller closes it. Raises InvalidInputError."""
    import httpx

    if not url.startswith(("http://", "https://")):
        raise InvalidInputError(f"--url must begin with http:// or https://, unlike {url[:100]!r}.", field="url")
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        return httpx.Client(base_url=url, headers=headers, timeout=timeout_s)
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        raise InvalidInputError(f"--url or --api-key can't be used: {error}.", field="url") from error
