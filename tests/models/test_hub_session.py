from pathlib import Path

import httpx
import pytest

from gpt2svc.errors import ModelDownloadError
from gpt2svc.models.hub_session import HubSession
from tests.fakes.hub_server import COMMIT, Fault, HubServer
from tests.models.hub import WEIGHTS, hub_client


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


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(status=401, headers={"X-Error-Code": "RepoNotFound"}), "no such model"),
        (Fault(status=404), "no such model"),
        (Fault(status=404, headers={"X-Error-Code": "RevisionNotFound"}), "no such revision"),
        (Fault(status=401, headers={"X-Error-Code": "GatedRepo"}), "HF_TOKEN"),
        (Fault(status=403, headers={"X-Error-Code": "GatedRepo"}), "gated"),
        (Fault(status=429), "Try again later"),
        (Fault(status=503), "Try again later"),
        (Fault(status=418), "refuses"),
    ],
)
def test_refusals_say_what_to_do(hub: HubServer, checkpoint: Path, models_dir: Path, fault: Fault, words: str) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail("main", fault)
    with pytest.raises(ModelDownloadError, match=words):
        hub_client(hub, models_dir).pull("owner/name")
    assert not models_dir.exists()


def test_gated_file_is_an_error_at_once(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(status=403, headers={"X-Error-Code": "GatedRepo"}))
    with pytest.raises(ModelDownloadError, match="gated"):
        hub_client(hub, models_dir).pull("owner/name")
    assert len(hub.ranges(WEIGHTS)) == 1


def test_busy_hub_is_asked_again(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(status=503), Fault(status=429))
    hub_client(hub, models_dir).pull("owner/name")
    assert len(hub.ranges(WEIGHTS)) == 3


def test_token_goes_to_the_hub_and_not_to_its_storage(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    with HubServer().running() as storage:
        storage.add("owner/name", checkpoint)
        location = f"{storage.url}/owner/name/resolve/{COMMIT}/{WEIGHTS}"
        hub.fail(WEIGHTS, Fault(status=302, headers={"Location": location}))
        hub_client(hub, models_dir, token="hf_secret").pull("owner/name")
        assert {seen.headers.get("authorization") for seen in hub.requests} == {"Bearer hf_secret"}
        assert [seen.headers.get("authorization") for seen in storage.requests] == [None]
