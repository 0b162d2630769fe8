import json
import threading
from pathlib import Path

import pytest

from gpt2svc.errors import ModelDownloadError, ModelFormatError, UnsafeModelError
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.models.hub import DownloadProgress, HubClient
from tests.fakes.checkpoint import write_config, write_sharded_checkpoint
from tests.fakes.hub_server import COMMIT, HubServer
from tests.models.hub import OTHER_COMMIT, WEIGHTS, files_below, hub_client


def test_pulled_model_resolves_with_the_commit_as_its_revision(
    hub: HubServer, checkpoint: Path, models_dir: Path
) -> None:
    hub.add("openai-community/gpt2", checkpoint)
    catalogue = ModelCatalogue(models_dir)
    assert catalogue.resolve("gpt2") is None
    pulled = hub_client(hub, models_dir).pull("gpt2")
    found = catalogue.resolve("openai-community/gpt2")
    assert found is not None
    assert found.path == pulled.path == models_dir / "openai-community--gpt2" / COMMIT
    assert found.revision == pulled.revision == COMMIT
    assert (found.path / WEIGHTS).read_bytes() == (checkpoint / WEIGHTS).read_bytes()


def test_only_files_that_are_needed_are_asked_for(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    files = {file.name: file.read_bytes() for file in checkpoint.iterdir()}
    others = ("pytorch_model.bin", "modeling_gpt2.py", "README.md", "onnx/model.onnx", "training_args.bin", ".env")
    hub.add("owner/name", files | dict.fromkeys(others, b"canary"))
    folder = hub_client(hub, models_dir).pull("owner/name")
    assert sorted(hub.downloads()) == files_below(folder.path) == ["config.json", WEIGHTS, "tokenizer.json"]


def test_sharded_model_arrives_whole(hub: HubServer, tmp_path: Path, models_dir: Path) -> None:
    hub.add("owner/name", write_sharded_checkpoint(tmp_path / "sharded"))
    folder = hub_client(hub, models_dir).pull("owner/name")
    assert [file.name for file in folder.weight_files] == [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]


def test_revision_is_asked_for_and_kept_apart(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub_client(hub, models_dir).pull("owner/name@refs/pr/3")
    assert hub.requests[0].path == "/api/models/owner/name/revision/refs/pr/3"
    catalogue = ModelCatalogue(models_dir)
    assert catalogue.resolve("owner/name") is None
    for name in ("owner/name@refs/pr/3", f"owner/name@{COMMIT}"):
        found = catalogue.resolve(name)
        assert found is not None
        assert found.name == name


def test_newer_commit_is_pulled_beside_the_old_one(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    repository = hub.add("owner/name", checkpoint)
    hub_client(hub, models_dir).pull("owner/name")
    repository.commit = OTHER_COMMIT
    hub_client(hub, models_dir).pull("owner/name")
    catalogue = ModelCatalogue(models_dir)
    newest, oldest = catalogue.resolve("owner/name"), catalogue.resolve(f"owner/name@{COMMIT}")
    assert newest is not None
    assert oldest is not None
    assert (newest.revision, oldest.revision) == (OTHER_COMMIT, COMMIT)


def test_model_that_is_up_to_date_is_not_downloaded_again(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    hub_client(hub, models_dir).pull("owner/name")
    hub.requests.clear()
    hub_client(hub, models_dir).pull("owner/name")
    assert hub.downloads() == []


def test_two_pulls_at_once_download_once(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    hub.add("owner/name", checkpoint)
    revisions: list[str] = []
    threads = [
        threading.Thread(target=lambda: revisions.append(hub_client(hub, models_dir).pull("owner/name").revision))
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
    hub_client(hub, models_dir).pull("owner/name", on_progress=seen.append)
    total = sum(file.stat().st_size for file in checkpoint.iterdir())
    done = [progress.num_bytes for progress in seen]
    assert done == sorted(done)
    assert {progress.total_bytes for progress in seen} == {total}
    assert seen[-1].num_bytes == total
    assert seen[-1].percent == 100.0
    assert {progress.file for progress in seen} == {"config.json", WEIGHTS, "tokenizer.json"}


def test_pickle_weights_are_refused_before_any_download(hub: HubServer, models_dir: Path) -> None:
    hub.add("owner/name", {"config.json": b"{}", "pytorch_model.bin": b"canary"})
    with pytest.raises(UnsafeModelError, match="gpt2svc convert"):
        hub_client(hub, models_dir).pull("owner/name")
    assert hub.downloads() == []


def test_remote_code_is_refused_before_the_weights(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    write_config(checkpoint, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    hub.add("owner/name", checkpoint)
    with pytest.raises(UnsafeModelError, match="auto_map"):
        hub_client(hub, models_dir).pull("owner/name")
    assert WEIGHTS not in hub.downloads()
    assert files_below(models_dir) == [".owner--name.lock"]


@pytest.mark.parametrize("missing", ["config.json", WEIGHTS, "tokenizer.json"])
def test_model_that_lacks_a_file_leaves_nothing_behind(
    hub: HubServer, checkpoint: Path, models_dir: Path, missing: str
) -> None:
    (checkpoint / missing).unlink()
    hub.add("owner/name", checkpoint)
    with pytest.raises(ModelFormatError, match=missing):
        hub_client(hub, models_dir).pull("owner/name")
    assert WEIGHTS not in hub.downloads()
    assert not any(WEIGHTS in file or "config" in file for file in files_below(models_dir))


def test_index_that_names_files_elsewhere_is_refused(hub: HubServer, tmp_path: Path, models_dir: Path) -> None:
    folder = write_sharded_checkpoint(tmp_path / "sharded")
    index = {"weight_map": {"wte.weight": "../../../../etc/passwd"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    hub.add("owner/name", folder)
    with pytest.raises(ModelFormatError, match="not the plain name"):
        hub_client(hub, models_dir).pull("owner/name")
    assert ModelCatalogue(models_dir).resolve("owner/name") is None


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
        hub_client(hub, models_dir, is_offline=True).pull("gpt2")
    assert hub.requests == []


def test_disk_that_is_too_small_is_said_before_the_download(hub: HubServer, checkpoint: Path, models_dir: Path) -> None:
    siblings = [
        {"rfilename": "config.json", "size": 2, "blobId": "0" * 40},
        {"rfilename": WEIGHTS, "lfs": {"sha256": "0" * 64, "size": 1 << 40}},
    ]
    hub.add("owner/name", checkpoint, listing={"siblings": siblings})
    with pytest.raises(ModelDownloadError, match="too full"):
        hub_client(hub, models_dir).pull("owner/name")
    assert hub.downloads() == []


def test_folder_that_can_not_be_written_is_said(hub: HubServer, checkpoint: Path, tmp_path: Path) -> None:
    hub.add("owner/name", checkpoint)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelDownloadError, match="Can't write to"):
        hub_client(hub, tmp_path / "file" / "models").pull("owner/name")


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
    hub_client(hub, models_dir).pull("owner/name")
    assert not old.exists()
