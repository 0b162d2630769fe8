from pathlib import Path

import pytest

from gpt2svc.errors import InvalidInputError, ModelFormatError, NotFoundError
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.models.hub_name import HubName
from gpt2svc.models.store import ModelStore
from tests.fakes.checkpoint import tiny_tensors, write_checkpoint
from tests.models.test_hub_name import BAD_NAMES

COMMIT = "c" * 40
PATHS = ("/etc", "./model", "../model", "~/model", "..", ".", "C:\\model", "a\\b")


@pytest.fixture
def catalogue(tmp_path: Path) -> ModelCatalogue:
    return ModelCatalogue(tmp_path / "models", starter_dir=write_checkpoint(tmp_path / "starter"))


def pull(tmp_path: Path, name: str = "owner/name", commit: str = COMMIT) -> Path:
    """What a pull leaves behind."""
    hub_name, store = HubName.parse(name), ModelStore(tmp_path / "models")
    write_checkpoint(store.partial_dir(hub_name, commit))
    return store.publish(hub_name, commit)


def test_bundled_model_resolves(catalogue: ModelCatalogue, tmp_path: Path) -> None:
    starter = catalogue.resolve("starter")
    assert starter is not None
    assert (starter.name, starter.path) == ("starter", tmp_path / "starter")


def test_installed_package_brings_a_model_that_works(tmp_path: Path) -> None:
    starter = ModelCatalogue(tmp_path).resolve("starter")
    assert starter is not None
    assert starter.num_bytes <= 30_000_000
    tokenizer = starter.load_tokenizer()
    assert tokenizer.eos_token_id is not None
    text = "Привіт! How are you? 🙂"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_pulled_model_resolves_by_name_alias_and_revision(catalogue: ModelCatalogue, tmp_path: Path) -> None:
    assert catalogue.resolve("gpt2") is None
    path = pull(tmp_path, "gpt2")
    for name in ("gpt2", "openai-community/gpt2", f"gpt2@{COMMIT}", "gpt2@main"):
        found = catalogue.resolve(name)
        assert found is not None
        assert (found.name, found.path, found.revision) == (name, path, COMMIT)
    assert catalogue.resolve("gpt2@v2") is None


def test_folder_resolves_for_the_operator_only(catalogue: ModelCatalogue, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "own")
    found = catalogue.resolve(str(folder), allow_folder=True)
    assert found is not None
    assert found.path == folder
    with pytest.raises(InvalidInputError, match="only the operator"):
        catalogue.resolve(str(folder))


@pytest.mark.parametrize("name", PATHS)
def test_path_is_never_opened_for_a_client(catalogue: ModelCatalogue, name: str) -> None:
    with pytest.raises(InvalidInputError):
        catalogue.resolve(name)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_name_is_refused_everywhere(catalogue: ModelCatalogue, tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidInputError):
        catalogue.resolve(name)
    with pytest.raises(InvalidInputError):
        catalogue.remove(name)
    assert sorted(tmp_path.rglob("*")) == before


def test_folder_that_looks_like_a_hub_name_wins_for_the_operator(
    catalogue: ModelCatalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path / "runs" / "best")
    monkeypatch.chdir(tmp_path)
    found = catalogue.resolve("runs/best", allow_folder=True)
    assert found is not None
    assert found.path == tmp_path / "runs" / "best"
    assert catalogue.resolve("runs/best") is None


def test_folder_that_is_not_there_is_an_error(catalogue: ModelCatalogue, tmp_path: Path) -> None:
    for name in (str(tmp_path / "missing"), "~no-such-user-here/model", "./nul\x00"):
        with pytest.raises(ModelFormatError, match="not a folder"):
            catalogue.resolve(name, allow_folder=True)


def test_list_names_every_model_and_what_is_wrong_with_it(catalogue: ModelCatalogue, tmp_path: Path) -> None:
    pull(tmp_path)
    broken = pull(tmp_path, "other/broken")
    (broken / "model.safetensors").write_bytes(b"")
    entries = catalogue.list()
    assert [(entry.name, entry.source) for entry in entries] == [
        ("starter", "bundled"),
        ("other/broken", "hub"),
        ("owner/name", "hub"),
    ]
    assert [entry.folder is None for entry in entries] == [False, True, False]
    assert "model.safetensors" in (entries[1].problem or "")


def test_list_goes_without_a_bundled_model(tmp_path: Path) -> None:
    entries = ModelCatalogue(tmp_path / "models", starter_dir=tmp_path / "missing").list()
    assert [(entry.name, entry.folder) for entry in entries] == [("starter", None)]


def test_removed_model_is_gone(catalogue: ModelCatalogue, tmp_path: Path) -> None:
    pull(tmp_path)
    pull(tmp_path, "owner/name@v1", "d" * 40)
    catalogue.remove("owner/name@v1")
    assert catalogue.resolve("owner/name@v1") is None
    assert catalogue.resolve("owner/name") is not None
    catalogue.remove("owner/name")
    assert catalogue.resolve("owner/name") is None
    for name in ("owner/name", "owner/name@v1"):
        with pytest.raises(NotFoundError):
            catalogue.remove(name)


@pytest.mark.parametrize("name", ["starter", *PATHS])
def test_only_pulled_models_can_be_removed(catalogue: ModelCatalogue, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError):
        catalogue.remove(name)
    assert (tmp_path / "starter" / "config.json").is_file()


def test_changed_folder_gets_another_revision(catalogue: ModelCatalogue, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "own")
    first = catalogue.resolve(str(folder), allow_folder=True)
    again = catalogue.resolve(str(folder), allow_folder=True)
    write_checkpoint(folder, tensors=tiny_tensors(seed=1))
    second = catalogue.resolve(str(folder), allow_folder=True)
    assert first is not None
    assert again is not None
    assert second is not None
    assert first.revision == again.revision != second.revision
