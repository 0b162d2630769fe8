import json
from pathlib import Path

import pytest

from gpt2svc.models.hub_name import HubName
from gpt2svc.models.store import ModelStore
from tests.fakes.checkpoint import write_checkpoint

NAME = HubName("owner", "name")
FIRST, SECOND = "a" * 40, "b" * 40


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def publish(store: ModelStore, name: HubName, commit: str) -> Path:
    write_checkpoint(store.partial_dir(name, commit))
    return store.publish(name, commit)


def test_store_that_does_not_exist_is_empty(store: ModelStore) -> None:
    assert list(store.snapshots()) == []
    assert store.commit(NAME) is None
    assert store.remove(NAME, None) is False


def test_partial_download_is_no_snapshot(store: ModelStore) -> None:
    write_checkpoint(store.partial_dir(NAME, FIRST))
    assert list(store.snapshots()) == []
    assert store.commit(HubName("owner", "name", FIRST)) is None


def test_published_revisions_are_found_again(store: ModelStore) -> None:
    tagged = HubName("owner", "name", "v1.0")
    publish(store, tagged, FIRST)
    publish(store, NAME, SECOND)
    assert (store.commit(tagged), store.commit(NAME)) == (FIRST, SECOND)
    assert store.commit(HubName("owner", "name", FIRST)) == FIRST
    assert [(str(name), commit) for name, commit, _ in store.snapshots()] == [
        ("owner/name@v1.0", FIRST),
        ("owner/name", SECOND),
    ]


def test_snapshot_that_no_revision_names_is_listed_by_its_commit(store: ModelStore) -> None:
    publish(store, NAME, FIRST)
    publish(store, NAME, SECOND)
    assert [str(name) for name, _, _ in store.snapshots()] == [f"owner/name@{FIRST}", "owner/name"]


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"\xff", b'{"main": "../../.."}', b'{"main": 5}', b'{"../x": "' + FIRST.encode() + b'"}'],
)
def test_damaged_notes_of_revisions_lead_nowhere(store: ModelStore, content: bytes) -> None:
    publish(store, NAME, FIRST)
    (store.repository_dir(NAME) / "refs.json").write_bytes(content)
    assert store.commit(NAME) is None
    assert store.commit(HubName("owner", "name", FIRST)) == FIRST
    assert len(list(store.snapshots())) == 1
    publish(store, NAME, FIRST)
    assert store.commit(NAME) == FIRST


def test_folders_of_others_are_passed_over(store: ModelStore, tmp_path: Path) -> None:
    path = publish(store, NAME, FIRST)
    for other in ("lost+found", ".hidden", "a--b--c", "owner--name/other", "owner--name/" + "A" * 40):
        (tmp_path / "models" / other).mkdir()
    (tmp_path / "models" / "file").write_text("")
    (path.parent / SECOND).symlink_to(path)
    assert [commit for _, commit, _ in store.snapshots()] == [FIRST]


def test_one_snapshot_is_removed_or_all(store: ModelStore, tmp_path: Path) -> None:
    publish(store, HubName("owner", "name", "v1.0"), FIRST)
    publish(store, NAME, SECOND)
    assert store.remove(NAME, FIRST)
    assert [commit for _, commit, _ in store.snapshots()] == [SECOND]
    write_checkpoint(store.partial_dir(NAME, FIRST))
    assert store.remove(NAME, None)
    assert list((tmp_path / "models").iterdir()) == []


def test_removing_a_link_leaves_what_it_points_at(store: ModelStore, tmp_path: Path) -> None:
    outside = write_checkpoint(tmp_path / "outside")
    (tmp_path / "models").mkdir()
    store.repository_dir(NAME).symlink_to(outside)
    assert store.remove(NAME, None)
    assert (outside / "config.json").is_file()
    assert not store.repository_dir(NAME).is_symlink()


def test_notes_of_revisions_stay_bounded(store: ModelStore) -> None:
    publish(store, NAME, FIRST)
    many = {f"branch-{i}": FIRST for i in range(5000)}
    (store.repository_dir(NAME) / "refs.json").write_text(json.dumps(many))
    store.publish(NAME, FIRST)
    kept = json.loads((store.repository_dir(NAME) / "refs.json").read_text())
    assert len(kept) == 1000
    assert kept["main"] == FIRST
