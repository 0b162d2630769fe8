import hashlib
from collections.abc import Iterator

import pytest

from gpt2svc.models.hub_listing import HubListing
from gpt2svc.models.hub_name import HubName
from gpt2svc.models.hub_session import HubSession
from tests.fakes.hub_server import COMMIT, HubServer

NAME = HubName("owner", "name")


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer().running() as server:
        yield server


def fetch(hub: HubServer) -> HubListing:
    with HubSession(hub.url) as session:
        return HubListing.fetch(session, NAME)


def test_only_files_at_the_top_can_be_downloaded(hub: HubServer) -> None:
    hub.add("owner/name", {"config.json": b"{}", "onnx/config.json": b"{}", "..\\config.json": b"{}"})
    listing = fetch(hub)
    assert listing.commit == COMMIT
    assert set(listing.files) == {"config.json"}
    assert listing.names == {"config.json", "onnx/config.json", "..\\config.json"}


@pytest.mark.parametrize("name", ["small.json", "large.safetensors"])
def test_checksum_is_that_of_the_content(hub: HubServer, name: str) -> None:
    content = "вміст".encode()
    hub.add("owner/name", {name: content})
    file = fetch(hub).files[name]
    digest = file.new_digest()
    digest.update(content)
    assert digest.hexdigest() == file.checksum
    assert file.size == len(content)
    if name.endswith(".safetensors"):
        assert file.checksum == hashlib.sha256(content).hexdigest()


def test_large_file_needs_its_own_checksum(hub: HubServer) -> None:
    # Without it `blobId` would be that of the pointer file, not of the content.
    entry = {"rfilename": "model.safetensors", "size": 5, "blobId": "0" * 40, "lfs": {"size": 5}}
    hub.add("owner/name", {}, listing={"siblings": [entry]})
    assert fetch(hub).files == {}
