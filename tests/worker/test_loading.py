from pathlib import Path

import pytest

from gpt2svc.errors import InvalidInputError, ModelDownloadError, ModelFormatError
from gpt2svc.worker.loading import locate
from gpt2svc.worker.messages import FromWorker, Loading, Located
from gpt2svc.worker.options import WorkerOptions
from tests.fakes.hub_server import COMMIT, HubServer


@pytest.fixture(autouse=True)
def _hub_is_not_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def test_a_folder_is_taken_as_it_is_and_announced(model_folder: Path, tmp_path: Path) -> None:
    reported: list[FromWorker] = []
    folder = locate(WorkerOptions(str(model_folder), models_dir=str(tmp_path), allow_folder=True), reported.append)
    assert folder.path == model_folder
    assert reported == [Located()]


def test_a_hub_model_is_downloaded_with_stages_and_percent_and_found_the_next_time(
    model_folder: Path, tmp_path: Path
) -> None:
    reported: list[FromWorker] = []
    with HubServer().running() as hub:
        hub.add("tests/model", model_folder)
        options = WorkerOptions("tests/model", models_dir=str(tmp_path), hub_endpoint=hub.url)
        assert locate(options, reported.append).revision == COMMIT
    *stages, last = reported
    assert all(isinstance(stage, Loading) and stage.status == "downloading" for stage in stages)
    assert stages[0] == Loading("downloading", "Looking for tests/model")
    assert stages[-1] == Loading("downloading", "Downloading model.safetensors", 100.0)
    assert last == Located()
    reported.clear()
    assert locate(options, reported.append).revision == COMMIT  # the hub is gone
    assert reported == [Located()]


def test_what_cannot_be_had_is_a_domain_error(tmp_path: Path) -> None:
    for model, error in (("./nowhere", ModelFormatError), ("a b", InvalidInputError), ("tests/x", ModelDownloadError)):
        options = WorkerOptions(model, models_dir=str(tmp_path), allow_folder=True, hub_endpoint="http://127.0.0.1:9")
        with pytest.raises(error):
            locate(options, lambda message: None)
