import hashlib
from pathlib import Path

import pytest

from gpt2svc.errors import ModelDownloadError, ModelFormatError
from gpt2svc.models.hub_listing import HubListing
from gpt2svc.models.hub_name import HubName
from gpt2svc.models.hub_session import HubSession
from tests.fakes.hub_server import COMMIT, Fault, HubServer
from tests.models.hub import OTHER_COMMIT, files_below, hub_client

NAME = HubName("owner", "name")


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


def test_endless_listing_is_cut_off(hub: HubServer, models_dir: Path) -> None:
    hub.fail("main", Fault(is_endless=True))
    with pytest.raises(ModelDownloadError, match="more than"):
        hub_client(hub, models_dir).pull("owner/name")


@pytest.mark.parametrize(
    "name", ["../escape.safetensors", "/abs.safetensors", "a\\b.safetensors", "sub/model.safetensors"]
)
def test_file_names_of_the_hub_never_become_paths(
    hub: HubServer, checkpoint: Path, models_dir: Path, name: str
) -> None:
    files = {file.name: file.read_bytes() for file in checkpoint.iterdir()}
    hub.add("owner/name", files | {name: b"canary"})
    hub_client(hub, models_dir).pull("owner/name")
    assert files_below(models_dir.parent.parent) == sorted(
        [
            *(f"checkpoint/{file}" for file in files),
            *(f"data/models/owner--name/{COMMIT}/{file}" for file in files),
            "data/models/.owner--name.lock",
            "data/models/owner--name/refs.json",
        ]
    )


@pytest.mark.parametrize("commit", ["../../../../tmp/evil", "0123", "", None, 7, "A" * 40])
def test_commit_that_is_no_commit_is_refused(
    hub: HubServer, checkpoint: Path, models_dir: Path, commit: object
) -> None:
    hub.add("owner/name", checkpoint, listing={"sha": commit})
    with pytest.raises(ModelDownloadError, match="commit"):
        hub_client(hub, models_dir).pull("owner/name")
    assert not models_dir.exists()


def test_another_commit_than_the_one_asked_for_is_refused(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    with pytest.raises(ModelDownloadError, match="another commit"):
        hub_client(hub, models_dir).pull(f"owner/name@{OTHER_COMMIT}")


@pytest.mark.parametrize(
    "body", [b"<html>Please log in</html>", b"[]", b"{}", b'{"sha": NaN}', b"\xff\xfe", b"[" * 100_000, b""]
)
def test_what_is_no_hub_is_told_apart(hub: HubServer, checkpoint: Path, models_dir: Path, body: bytes) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail("main", Fault(body=body))
    with pytest.raises(ModelDownloadError):
        hub_client(hub, models_dir).pull("owner/name")
    assert not models_dir.exists()


@pytest.mark.parametrize("entry", ["text", None, {}, {"rfilename": 5}, {"rfilename": "x", "size": -1}, {"size": True}])
def test_odd_entries_of_a_listing_are_skipped(
    hub: HubServer, checkpoint: Path, models_dir: Path, entry: object
) -> None:
    hub.add("owner/name", checkpoint, listing={"siblings": [entry]})
    with pytest.raises(ModelFormatError, match=r"config\.json"):
        hub_client(hub, models_dir).pull("owner/name")


def test_file_without_a_checksum_is_not_taken(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    siblings = [{"rfilename": file.name, "size": file.stat().st_size} for file in checkpoint.iterdir()]
    hub.add("owner/name", checkpoint, listing={"siblings": siblings})
    with pytest.raises(ModelFormatError):
        hub_client(hub, models_dir).pull("owner/name")
    assert hub.downloads() == []
