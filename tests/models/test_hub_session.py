import httpx
import pytest

from gpt2svc.errors import ModelDownloadError
from gpt2svc.models.hub_session import HubSession


def redirected(endpoint: str, location: str) -> bytes:
    """What a session reads when `endpoint` redirects to `location`, which answers anything."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/start":
            return httpx.Response(302, headers={"Location": location})
        return httpx.Response(200, stream=httpx.ByteStream(b"body"))

    with HubSession(endpoint, transport=httpx.MockTransport(answer)) as session:
        return session.read("/start", max_bytes=100)


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1/metadata",
        "https://localhost/metadata",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.5/x",
        "https://192.168.1.1/x",
        "https://[::1]/x",
        "https://[fd00::1]/x",
        "https://router.local/x",
    ],
)
def test_redirect_into_the_own_network_is_refused(location: str) -> None:
    with pytest.raises(ModelDownloadError, match="own network"):
        redirected("https://hub.example", location)


def test_redirect_to_an_unencrypted_address_is_refused() -> None:
    with pytest.raises(ModelDownloadError, match="unencrypted"):
        redirected("https://hub.example", "http://storage.example/x")


def test_redirect_to_storage_is_followed() -> None:
    assert redirected("https://hub.example", "https://storage.example/x") == b"body"


def test_mirror_inside_the_own_network_may_be_the_endpoint() -> None:
    assert redirected("http://10.0.0.5:8080", "http://10.0.0.6/x") == b"body"


def test_redirects_without_end_are_an_error() -> None:
    with pytest.raises(ModelDownloadError, match="redirect"):
        redirected("https://hub.example", "/start")


@pytest.mark.parametrize("endpoint", ["", "hub.example", "file:///etc/passwd", "ftp://hub.example", "https://"])
def test_endpoint_must_be_a_web_address(endpoint: str) -> None:
    with pytest.raises(ModelDownloadError, match="endpoint"):
        HubSession(endpoint)
