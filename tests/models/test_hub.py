import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpt2svc.errors import ModelDownloadError, ModelFormatError, UnsafeModelError
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.models.hub import DownloadProgress, HubClient
from gpt2svc.models.hub_file import RetryPolicy
from tests.fakes.checkpoint import write_checkpoint, write_config, write_sharded_checkpoint
from tests.fakes.hub_server import COMMIT, Fault, HubServer

OTHER_COMMIT = "f" * 40
WEIGHTS = "model.safetensors"
AT_ONCE = RetryPolicy(max_attempts=3, first_delay_s=0.0)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer().running() as server:
        yield server


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "checkpoint")


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


def client(hub: HubServer, models_dir: Path, **options: object) -> HubClient:
    return HubClient(models_dir, endpoint=hub.url, **{"policy": AT_ONCE, **options})  # type: ignore[arg-type]


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_pulled_model_resolves_with_the_commit_as_its_revision(
    hub: HubServer, checkpoint: Path, models_dir: Path
) -> None:
    hub.add("openai-community/gpt2", checkpoint)
    catalogue = ModelCatalogue(models_dir)
    assert catalogue.resolve("gpt2") is None
    pulled = client(hub, models_dir).pull("gpt2")
    found = catalogue.resolve("openai-community/gpt2")
    assert found is not None
    assert found.path == pulled.path == models_dir / "openai-community--gpt2" / COMMIT
    assert found.revision == pulled.revision == COMMIT
    assert (found.path / WEIGHTS).read_bytes() == (checkpoint / WEIGHTS).read_bytes()


def test_only_files_that_are_needed_are_asked_for(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    files = {file.name: file.read_bytes() for file in checkpoint.iterdir()}
    others = ("pytorch_model.bin", "modeling_gpt2.py", "README.md", "onnx/model.onnx", "training_args.bin", ".env")
    hub.add("owner/name", files | dict.fromkeys(others, b"canary"))
    folder = client(hub, models_dir).pull("owner/name")
    assert sorted(hub.downloads()) == files_below(folder.path) == ["config.json", WEIGHTS, "tokenizer.json"]


def test_sharded_model_arrives_whole(hub: HubServer, tmp_path: Path, models_dir: Path) -> None:
    hub.add("owner/name", write_sharded_checkpoint(tmp_path / "sharded"))
    folder = client(hub, models_dir).pull("owner/name")
    assert [file.name for file in folder.weight_files] == [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]


def test_revision_is_asked_for_and_kept_apart(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    client(hub, models_dir).pull("owner/name@refs/pr/3")
    assert hub.requests[0].path == "/api/models/owner/name/revision/refs/pr/3"
    catalogue = ModelCatalogue(models_dir)
    assert catalogue.resolve("owner/name") is None
    for name in ("owner/name@refs/pr/3", f"owner/name@{COMMIT}"):
        found = catalogue.resolve(name)
        assert found is not None
        assert found.name == name


def test_newer_commit_is_pulled_beside_the_old_one(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    repository = hub.add("owner/name", checkpoint)
    client(hub, models_dir).pull("owner/name")
    repository.commit = OTHER_COMMIT
    client(hub, models_dir).pull("owner/name")
    catalogue = ModelCatalogue(models_dir)
    newest, oldest = catalogue.resolve("owner/name"), catalogue.resolve(f"owner/name@{COMMIT}")
    assert newest is not None
    assert oldest is not None
    assert (newest.revision, oldest.revision) == (OTHER_COMMIT, COMMIT)


def test_model_that_is_up_to_date_is_not_downloaded_again(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    client(hub, models_dir).pull("owner/name")
    hub.requests.clear()
    client(hub, models_dir).pull("owner/name")
    assert hub.downloads() == []


def test_two_pulls_at_once_download_once(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    revisions: list[str] = []
    threads = [
        threading.Thread(target=lambda: revisions.append(client(hub, models_dir).pull("owner/name").revision))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert revisions == [COMMIT] * 4
    assert hub.downloads().count(WEIGHTS) == 1


def test_progress_grows_to_the_whole_size(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    seen: list[DownloadProgress] = []
    client(hub, models_dir).pull("owner/name", on_progress=seen.append)
    total = sum(file.stat().st_size for file in checkpoint.iterdir())
    done = [progress.num_bytes for progress in seen]
    assert done == sorted(done)
    assert {progress.total_bytes for progress in seen} == {total}
    assert seen[-1].num_bytes == total
    assert seen[-1].percent == 100.0
    assert {progress.file for progress in seen} == {"config.json", WEIGHTS, "tokenizer.json"}


def test_cut_download_goes_on_by_itself_where_it_was_cut(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(cut_after=1000), Fault(cut_after=500))
    folder = client(hub, models_dir).pull("owner/name")
    assert hub.ranges(WEIGHTS) == [None, "bytes=1000-", "bytes=1500-"]
    assert (folder.path / WEIGHTS).read_bytes() == (checkpoint / WEIGHTS).read_bytes()


def test_download_that_advances_is_not_given_up(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, *[Fault(cut_after=1000)] * 5)
    policy = RetryPolicy(max_attempts=2, first_delay_s=0.0, min_bytes=1000)
    assert client(hub, models_dir, policy=policy).pull("owner/name").revision == COMMIT
    assert len(hub.ranges(WEIGHTS)) == 6


def test_next_pull_goes_on_where_the_last_one_gave_up(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(cut_after=1000), *[Fault(cut_after=0)] * 2)
    with pytest.raises(ModelDownloadError):
        client(hub, models_dir).pull("owner/name")
    assert ModelCatalogue(models_dir).resolve("owner/name") is None
    hub.requests.clear()
    client(hub, models_dir).pull("owner/name")
    assert hub.downloads() == [WEIGHTS]
    assert hub.ranges(WEIGHTS) == ["bytes=1000-"]


def test_download_that_the_caller_stops_goes_on_next_time(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)

    def stop(progress: DownloadProgress) -> None:
        if progress.file == "tokenizer.json":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client(hub, models_dir).pull("owner/name", on_progress=stop)
    assert client(hub, models_dir).pull("owner/name").revision == COMMIT
    assert hub.downloads().count("config.json") == 1


def test_server_that_ignores_ranges_still_gives_the_right_file(
    hub: HubServer, checkpoint: Path, models_dir: Path
) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(cut_after=1000), Fault(ignores_range=True))
    folder = client(hub, models_dir).pull("owner/name")
    assert (folder.path / WEIGHTS).read_bytes() == (checkpoint / WEIGHTS).read_bytes()


def test_damaged_part_is_thrown_away_and_fetched_anew(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    partial = models_dir / "owner--name" / f".{COMMIT}.partial"
    partial.mkdir(parents=True)
    (partial / f"{WEIGHTS}.part").write_bytes(b"not what the hub sent")
    folder = client(hub, models_dir).pull("owner/name")
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
        client(hub, models_dir).pull("owner/name")
    assert not any(Path(file).name.startswith(name) for file in files_below(models_dir))
    assert ModelCatalogue(models_dir).resolve("owner/name") is None


def test_endless_file_is_cut_off_and_deleted(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(is_endless=True))
    with pytest.raises(ModelDownloadError, match="longer than"):
        client(hub, models_dir).pull("owner/name")
    assert not any(WEIGHTS in file for file in files_below(models_dir))


def test_endless_listing_is_cut_off(hub: HubServer, models_dir: Path) -> None:
    hub.fail("main", Fault(is_endless=True))
    with pytest.raises(ModelDownloadError, match="more than"):
        client(hub, models_dir).pull("owner/name")


def test_file_that_stays_short_is_an_error(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(body=b"\x00" * 10), *[Fault(body=b"\x00" * 10)] * 3)
    with pytest.raises(ModelDownloadError, match="broke off after 10 of"):
        client(hub, models_dir).pull("owner/name")


def test_file_that_hardly_moves_is_given_up(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    impatient = RetryPolicy(max_attempts=1, window_s=0.0, min_bytes=1 << 30)
    with pytest.raises(ModelDownloadError, match="next to nothing"):
        client(hub, models_dir, policy=impatient).pull("owner/name")


def test_compressed_body_is_not_taken_for_the_file(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    bomb = gzip.compress(b"\x00" * 1_000_000)
    hub.fail(WEIGHTS, *[Fault(body=bomb, headers={"Content-Encoding": "gzip"})] * 3)
    with pytest.raises(ModelDownloadError):
        client(hub, models_dir).pull("owner/name")
    assert hub.requests[0].headers["accept-encoding"] == "identity"
    assert ModelCatalogue(models_dir).resolve("owner/name") is None


def test_pickle_weights_are_refused_before_any_download(hub: HubServer, models_dir: Path) -> None:
    hub.add("owner/name", {"config.json": b"{}", "pytorch_model.bin": b"canary"})
    with pytest.raises(UnsafeModelError, match="gpt2svc convert"):
        client(hub, models_dir).pull("owner/name")
    assert hub.downloads() == []


def test_remote_code_is_refused_before_the_weights(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    write_config(checkpoint, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    hub.add("owner/name", checkpoint)
    with pytest.raises(UnsafeModelError, match="auto_map"):
        client(hub, models_dir).pull("owner/name")
    assert WEIGHTS not in hub.downloads()
    assert files_below(models_dir) == [".owner--name.lock"]


@pytest.mark.parametrize("missing", ["config.json", WEIGHTS, "tokenizer.json"])
def test_model_that_lacks_a_file_leaves_nothing_behind(
    hub: HubServer, checkpoint: Path, models_dir: Path, missing: str
) -> None:
    (checkpoint / missing).unlink()
    hub.add("owner/name", checkpoint)
    with pytest.raises(ModelFormatError, match=missing):
        client(hub, models_dir).pull("owner/name")
    assert WEIGHTS not in hub.downloads()
    assert not any(WEIGHTS in file or "config" in file for file in files_below(models_dir))


def test_index_that_names_files_elsewhere_is_refused(hub: HubServer, tmp_path: Path, models_dir: Path) -> None:
    folder = write_sharded_checkpoint(tmp_path / "sharded")
    index = {"weight_map": {"wte.weight": "../../../../etc/passwd"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    hub.add("owner/name", folder)
    with pytest.raises(ModelFormatError, match="not the plain name"):
        client(hub, models_dir).pull("owner/name")
    assert ModelCatalogue(models_dir).resolve("owner/name") is None


@pytest.mark.parametrize(
    "name", ["../escape.safetensors", "/abs.safetensors", "a\\b.safetensors", "sub/model.safetensors"]
)
def test_file_names_of_the_hub_never_become_paths(
    hub: HubServer, checkpoint: Path, models_dir: Path, name: str
) -> None:
    files = {file.name: file.read_bytes() for file in checkpoint.iterdir()}
    hub.add("owner/name", files | {name: b"canary"})
    client(hub, models_dir).pull("owner/name")
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
        client(hub, models_dir).pull("owner/name")
    assert not models_dir.exists()


def test_another_commit_than_the_one_asked_for_is_refused(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    with pytest.raises(ModelDownloadError, match="another commit"):
        client(hub, models_dir).pull(f"owner/name@{OTHER_COMMIT}")


@pytest.mark.parametrize(
    "body", [b"<html>Please log in</html>", b"[]", b"{}", b'{"sha": NaN}', b"\xff\xfe", b"[" * 100_000, b""]
)
def test_what_is_no_hub_is_told_apart(hub: HubServer, checkpoint: Path, models_dir: Path, body: bytes) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail("main", Fault(body=body))
    with pytest.raises(ModelDownloadError):
        client(hub, models_dir).pull("owner/name")
    assert not models_dir.exists()


@pytest.mark.parametrize("entry", ["text", None, {}, {"rfilename": 5}, {"rfilename": "x", "size": -1}, {"size": True}])
def test_odd_entries_of_a_listing_are_skipped(
    hub: HubServer, checkpoint: Path, models_dir: Path, entry: object
) -> None:
    hub.add("owner/name", checkpoint, listing={"siblings": [entry]})
    with pytest.raises(ModelFormatError, match=r"config\.json"):
        client(hub, models_dir).pull("owner/name")


def test_file_without_a_checksum_is_not_taken(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    siblings = [{"rfilename": file.name, "size": file.stat().st_size} for file in checkpoint.iterdir()]
    hub.add("owner/name", checkpoint, listing={"siblings": siblings})
    with pytest.raises(ModelFormatError):
        client(hub, models_dir).pull("owner/name")
    assert hub.downloads() == []


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
        client(hub, models_dir).pull("owner/name")
    assert not models_dir.exists()


def test_gated_file_is_an_error_at_once(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(status=403, headers={"X-Error-Code": "GatedRepo"}))
    with pytest.raises(ModelDownloadError, match="gated"):
        client(hub, models_dir).pull("owner/name")
    assert len(hub.ranges(WEIGHTS)) == 1


def test_busy_hub_is_asked_again(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub.fail(WEIGHTS, Fault(status=503), Fault(status=429))
    client(hub, models_dir).pull("owner/name")
    assert len(hub.ranges(WEIGHTS)) == 3


def test_without_a_network_the_bundled_model_is_named(models_dir: Path) -> None:
    with HubServer().running() as gone:
        endpoint = gone.url
    with pytest.raises(ModelDownloadError) as caught:
        HubClient(models_dir, endpoint=endpoint).pull("gpt2")
    assert endpoint in caught.value.message
    assert "--model starter" in caught.value.message
    assert not models_dir.exists()


def test_offline_mode_asks_nobody(hub: HubServer, models_dir: Path) -> None:
    with pytest.raises(ModelDownloadError, match="HF_HUB_OFFLINE"):
        client(hub, models_dir, is_offline=True).pull("gpt2")
    assert hub.requests == []


def test_disk_that_is_too_small_is_said_before_the_download(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    siblings = [
        {"rfilename": "config.json", "size": 2, "blobId": "0" * 40},
        {"rfilename": WEIGHTS, "lfs": {"sha256": "0" * 64, "size": 1 << 40}},
    ]
    hub.add("owner/name", checkpoint, listing={"siblings": siblings})
    with pytest.raises(ModelDownloadError, match="too full"):
        client(hub, models_dir).pull("owner/name")
    assert hub.downloads() == []


def test_folder_that_can_not_be_written_is_said(hub: HubServer, checkpoint: Path, tmp_path: Path) -> None:
    hub.add("owner/name", checkpoint)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelDownloadError, match="Can't write to"):
        client(hub, tmp_path / "file" / "models").pull("owner/name")


def test_token_goes_to_the_hub_and_not_to_its_storage(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    with HubServer().running() as storage:
        storage.add("owner/name", checkpoint)
        location = f"{storage.url}/owner/name/resolve/{COMMIT}/{WEIGHTS}"
        hub.fail(WEIGHTS, Fault(status=302, headers={"Location": location}))
        client(hub, models_dir, token="hf_secret").pull("owner/name")
        assert {seen.headers.get("authorization") for seen in hub.requests} == {"Bearer hf_secret"}
        assert [seen.headers.get("authorization") for seen in storage.requests] == [None]


def test_environment_sets_the_endpoint_and_the_token(
    hub: HubServer, checkpoint: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("owner/name", checkpoint)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_from_environment")
    HubClient.from_environment(models_dir).pull("owner/name")
    assert hub.requests[0].headers["authorization"] == "Bearer hf_from_environment"


def test_leftovers_of_an_older_commit_are_cleared(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    old = models_dir / "owner--name" / f".{OTHER_COMMIT}.partial"
    old.mkdir(parents=True)
    (old / f"{WEIGHTS}.part").write_bytes(b"half")
    client(hub, models_dir).pull("owner/name")
    assert not old.exists()
