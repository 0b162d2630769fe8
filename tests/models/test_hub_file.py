"""Downloads that are cut, damaged, endless or slow: whole files or none."""

import gzip
from pathlib import Path

import pytest

from gpt2svc.errors import ModelDownloadError
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.models.hub import DownloadProgress
from gpt2svc.models.hub_file import RetryPolicy
from tests.fakes.hub_server import COMMIT, Fault, HubServer
from tests.models.hub import WEIGHTS, files_below, hub_client


def test_cut_download_goes_on_by_itself_where_it_was_cut(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(cut_after=1000), Fault(cut_after=500))
    folder = hub_client(hub, models_dir).pull("owner/name")
    assert hub.ranges(WEIGHTS) == [None, "bytes=1000-", "bytes=1500-"]
    assert (folder.path / WEIGHTS).read_bytes() == (checkpoint / WEIGHTS).read_bytes()


def test_download_that_advances_is_not_given_up(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, *[Fault(cut_after=1000)] * 5)
    policy = RetryPolicy(max_attempts=2, first_delay_s=0.0, min_bytes=1000)
    assert hub_client(hub, models_dir, policy=policy).pull("owner/name").revision == COMMIT
    assert len(hub.ranges(WEIGHTS)) == 6


def test_next_pull_goes_on_where_the_last_one_gave_up(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(cut_after=1000), *[Fault(cut_after=0)] * 2)
    with pytest.raises(ModelDownloadError):
        hub_client(hub, models_dir).pull("owner/name")
    assert ModelCatalogue(models_dir).resolve("owner/name") is None
    hub.requests.clear()
    hub_client(hub, models_dir).pull("owner/name")
    assert hub.downloads() == [WEIGHTS]
    assert hub.ranges(WEIGHTS) == ["bytes=1000-"]


def test_download_that_the_caller_stops_goes_on_next_time(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)

    def stop(progress: DownloadProgress) -> None:
        if progress.file == "tokenizer.json":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub_client(hub, models_dir).pull("owner/name", on_progress=stop)
    assert hub_client(hub, models_dir).pull("owner/name").revision == COMMIT
    assert hub.downloads().count("config.json") == 1


def test_server_that_ignores_ranges_still_gives_the_right_file(
    hub: HubServer, checkpoint: Path, models_dir: Path
) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(cut_after=1000), Fault(ignores_range=True))
    folder = hub_client(hub, models_dir).pull("owner/name")
    assert (folder.path / WEIGHTS).read_bytes() == (checkpoint / WEIGHTS).read_bytes()


def test_damaged_part_is_thrown_away_and_fetched_anew(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    partial = models_dir / "owner--name" / f".{COMMIT}.partial"
    partial.mkdir(parents=True)
    (partial / f"{WEIGHTS}.part").write_bytes(b"not what the hub sent")
    folder = hub_client(hub, models_dir).pull("owner/name")
    assert (folder.path / WEIGHTS).read_bytes() == (checkpoint / WEIGHTS).read_bytes()
    assert hub.ranges(WEIGHTS) == ["bytes=21-", None]


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_wrong_checksum_leaves_nothing_of_the_file(
    hub: HubServer, checkpoint: Path, models_dir: Path, name: str
) -> None:
    hub.add("owner/name", checkpoint)
    content = (checkpoint / name).read_bytes()
    hub.fail(name, Fault(body=content[:-1] + bytes([content[-1] ^ 1])))
    with pytest.raises(ModelDownloadError, match="checksum"):
        hub_client(hub, models_dir).pull("owner/name")
    assert not any(Path(file).name.startswith(name) for file in files_below(models_dir))
    assert ModelCatalogue(models_dir).resolve("owner/name") is None


def test_endless_file_is_cut_off_and_deleted(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(is_endless=True))
    with pytest.raises(ModelDownloadError, match="longer than"):
        hub_client(hub, models_dir).pull("owner/name")
    assert not any(WEIGHTS in file for file in files_below(models_dir))


def test_file_that_stays_short_is_an_error(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(body=b"\x00" * 10), *[Fault(body=b"\x00" * 10)] * 3)
    with pytest.raises(ModelDownloadError, match="broke off after 10 of"):
        hub_client(hub, models_dir).pull("owner/name")


def test_file_that_hardly_moves_is_given_up(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    impatient = RetryPolicy(max_attempts=1, window_s=0.0, min_bytes=1 << 30)
    with pytest.raises(ModelDownloadError, match="next to nothing"):
        hub_client(hub, models_dir, policy=impatient).pull("owner/name")


def test_compressed_body_is_not_taken_for_the_file(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    bomb = gzip.compress(b"\x00" * 1_000_000)
    hub.fail(WEIGHTS, *[Fault(body=bomb, headers={"Content-Encoding": "gzip"})] * 3)
    with pytest.raises(ModelDownloadError):
        hub_client(hub, models_dir).pull("owner/name")
    assert hub.requests[0].headers["accept-encoding"] == "identity"
    assert ModelCatalogue(models_dir).resolve("owner/name") is None
