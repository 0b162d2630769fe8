"""HubSession: HTTP to a Hugging Face hub, with its errors in words that say what to do."""

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Self
from urllib.parse import urlsplit

import httpx

from gpt2svc.errors import ModelDownloadError

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
OFFLINE_HINT: Final = "The bundled model works offline: --model starter."

_CONNECT_TIMEOUT_S: Final = 10.0
_READ_TIMEOUT_S: Final = 30.0
_MAX_REDIRECTS: Final = 5


class HubUnreachableError(ModelDownloadError):
    """The hub did not answer, answered that it is too busy, or broke off: trying again may help."""


class HubSession:
    """Connections to one endpoint. Close it, or use it as a context manager.

    `token` goes to the endpoint only: a redirect to another host (the hub's storage) is followed without it.
    """

    def __init__(
        self, endpoint: str, token: str | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        address = urlsplit(endpoint)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ModelDownloadError(f"The hub's endpoint must be an http or https URL, not {endpoint[:200]!r}.")
        self.endpoint = endpoint.rstrip("/")
        self._is_local = _is_private(address.hostname)
        self._is_encrypted = address.scheme == "https"
        self._client = httpx.Client(
            headers={
                "User-Agent": "gpt2svc",
                # What arrives must be the file itself: its length and checksum are known, a compressed form's are not.
                "Accept-Encoding": "identity",
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
            timeout=httpx.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
            follow_redirects=True,
            max_redirects=_MAX_REDIRECTS,
            transport=transport,
            event_hooks={"request": [self._check_target]},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def open(
        self, path: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """The answer to GET `path` (below the endpoint), status 200 or 206, its body still to be streamed.

        Raises HubUnreachableError for what may pass, also from within the block, and ModelDownloadError for the rest.
        """
        try:
            with self._client.stream("GET", self.endpoint + path, params=params, headers=headers) as response:
                self._check_status(response)
                yield response
        except httpx.TimeoutException as error:
            raise HubUnreachableError(f"{self.endpoint} does not answer. Try again later. {OFFLINE_HINT}") from error
        except httpx.TransportError as error:
            raise HubUnreachableError(
                f"Could not reach {self.endpoint} ({_reason(error)}). Check the network, and HF_ENDPOINT if you set "
                f"it. {OFFLINE_HINT}"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ModelDownloadError(f"{self.endpoint} can't be used: {_reason(error)}.") from error

    def read(self, path: str, *, params: Mapping[str, str] | None = None, max_bytes: int) -> bytes:
        """The whole body of GET `path`, of at most `max_bytes`. Raises as `open` does."""
        body = bytearray()
        with self.open(path, params=params) as response:
            for chunk in response.iter_raw(1 << 16):
                body += chunk
                if len(body) > max_bytes:
                    raise ModelDownloadError(f"{self.endpoint}{path} sends more than {max_bytes:,} bytes.")
        return bytes(body)

    def _check_target(self, request: httpx.Request) -> None:
        """Called for each request, redirects included."""
        if self._is_encrypted and request.url.scheme != "https":
            raise ModelDownloadError(f"{self.endpoint} redirects to an unencrypted address; refused.")
        if not self._is_local and _is_private(request.url.host):
            raise ModelDownloadError(f"{self.endpoint} redirects into this machine's own network; refused.")

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        code = response.headers.get("X-Error-Code", "")
        if status in (408, 425, 429) or status >= 500:
            raise HubUnreachableError(f"{self.endpoint} is busy or broken (HTTP {status}). Try again later.")
        if code == "GatedRepo" or (status == 403 and code != "RepoNotFound"):
            raise ModelDownloadError(
                "This model is gated: accept its terms on its page on the hub, then set HF_TOKEN to a token of yours "
                f"(HTTP {status})."
            )
        if code == "RevisionNotFound":
            raise ModelDownloadError("The hub has no such revision of this model. Check what stands after '@'.")
        if code == "RepoNotFound" or status in (401, 404):
            raise ModelDownloadError(
                f"{self.endpoint} has no such model, or it is private. Check its name; for a private one set HF_TOKEN "
                f"(HTTP {status})."
            )
        raise ModelDownloadError(f"{self.endpoint} refuses the request (HTTP {status}).")


def _is_private(host: str) -> bool:
    """Whether `host` is spelled as this machine or an address inside a private network."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return False


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
