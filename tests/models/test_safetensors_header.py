import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from gpt2svc.errors import ModelError, ModelFormatError, UnsafeModelError
from gpt2svc.models.safetensors_header import read_safetensors_header
from tests.fakes.checkpoint import safetensors_bytes, tiny_tensors


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return path


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_entries_point_at_the_tensors_bytes(tmp_path: Path) -> None:
    tensors = tiny_tensors()
    path = write(tmp_path, save(tensors, metadata={"format": "pt"}))
    entries = read_safetensors_header(path)
    assert {found.name for found in entries} == set(tensors)
    content = path.read_bytes()
    for found in entries:
        values = np.frombuffer(content, dtype="<f4", count=found.num_bytes // 4, offset=found.offset)
        np.testing.assert_array_equal(values.reshape(found.shape), tensors[found.name])


def test_empty_tensors_and_scalars_are_fine(tmp_path: Path) -> None:
    header = {"a": entry(shape=[0, 5], offsets=[0, 0]), "b": entry(shape=[], offsets=[0, 4])}
    assert len(read_safetensors_header(write(tmp_path, safetensors_bytes(header, b"\x00" * 4)))) == 2


CORRUPT = {
    "header of 8 GB": safetensors_bytes({"a": entry()}, b"\x00" * 8, length=8 << 30),
    "header of 2^64 - 1 bytes": safetensors_bytes({"a": entry()}, b"\x00" * 8, length=2**64 - 1),
    "header longer than the file": safetensors_bytes({"a": entry()}, b"\x00" * 8, length=1000),
    "header of no bytes": safetensors_bytes(b"", b"\x00" * 8),
    "header cut short": safetensors_bytes({"a": entry()}, b"\x00" * 8, length=20),
    "empty file": b"",
    "a few bytes": b"\x00\x01\x02",
    "not JSON": safetensors_bytes(b"{not json at all}"),
    "not UTF-8": safetensors_bytes(b'{"\xff": 1}'),
    "a list": safetensors_bytes(b"[1, 2, 3, 4]"),
    "nested without end": safetensors_bytes(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "a tensor twice": safetensors_bytes(
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        b"\x00" * 8,
    ),
    "NaN as a size": safetensors_bytes(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', b"\x00" * 8),
    "infinite size": safetensors_bytes(b'{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,8]}}', b"\x00" * 8),
    "negative shape": safetensors_bytes({"a": entry(shape=[-2])}, b"\x00" * 8),
    "two negative sizes": safetensors_bytes({"a": entry(shape=[-1, -2])}, b"\x00" * 8),
    "shape of true": safetensors_bytes({"a": entry(shape=[True, 2])}, b"\x00" * 8),
    "shape of fractions": safetensors_bytes({"a": entry(shape=[2.0])}, b"\x00" * 8),
    "shape as text": safetensors_bytes({"a": entry(shape="2")}, b"\x00" * 8),
    "shape missing": safetensors_bytes({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, b"\x00" * 8),
    "shape of 2^62": safetensors_bytes({"a": entry(shape=[2**62, 2**62])}, b"\x00" * 8),
    "shape of 10^400": safetensors_bytes({"a": entry(shape=[10**400])}, b"\x00" * 8),
    "too many dimensions": safetensors_bytes({"a": entry(shape=[1] * 9 + [2])}, b"\x00" * 8),
    "shape larger than its bytes": safetensors_bytes({"a": entry(shape=[3])}, b"\x00" * 8),
    "shape smaller than its bytes": safetensors_bytes({"a": entry(shape=[1])}, b"\x00" * 8),
    "unknown dtype": safetensors_bytes({"a": entry(dtype="F4")}, b"\x00" * 8),
    "dtype that is a list": safetensors_bytes({"a": entry(dtype=["F32"])}, b"\x00" * 8),
    "offsets beyond the file": safetensors_bytes({"a": entry(offsets=[0, 8])}, b"\x00" * 4),
    "offsets far beyond the file": safetensors_bytes({"a": entry(offsets=[1 << 40, (1 << 40) + 8])}, b"\x00" * 8),
    "offsets backwards": safetensors_bytes({"a": entry(offsets=[8, 0])}, b"\x00" * 8),
    "negative offsets": safetensors_bytes({"a": entry(offsets=[-8, 0])}, b"\x00" * 8),
    "three offsets": safetensors_bytes({"a": entry(offsets=[0, 8, 8])}, b"\x00" * 8),
    "overlapping tensors": safetensors_bytes({"a": entry(), "b": entry(offsets=[4, 12])}, b"\x00" * 12),
    "the same bytes twice": safetensors_bytes({"a": entry(), "b": entry()}, b"\x00" * 8),
    "a gap between tensors": safetensors_bytes({"a": entry(), "b": entry(offsets=[12, 20])}, b"\x00" * 20),
    "bytes left over": safetensors_bytes({"a": entry()}, b"\x00" * 9),
    "description is a number": safetensors_bytes({"a": 5}, b"\x00" * 8),
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
}


@pytest.mark.parametrize("content", CORRUPT.values(), ids=CORRUPT.keys())
def test_corrupt_header_is_refused_by_file(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelFormatError, match=r"model\.safetensors") as caught:
        read_safetensors_header(write(tmp_path, content))
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_under_another_name_is_refused_unread(tmp_path: Path, protocol: int) -> None:
    canary = bytes([0x80, protocol]) + b"cos\nsystem\n(S'touch canary'\ntR."
    with pytest.raises(UnsafeModelError, match="gpt2svc convert"):
        read_safetensors_header(write(tmp_path, canary))


def test_torch_archive_under_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeModelError, match="pickle"):
        read_safetensors_header(write(tmp_path, b"PK\x03\x04" + b"\x00" * 100))


def test_missing_file_is_a_format_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="Can't read"):
        read_safetensors_header(tmp_path / "missing.safetensors")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_mutation_brings_anything_but_a_model_error(data: st.DataObject, tmp_path_factory: Any) -> None:
    header = {"a": entry(), "b": entry(dtype="F16", shape=[1, 2], offsets=[8, 12]), "__metadata__": {"format": "pt"}}
    content = bytearray(safetensors_bytes(header, b"\x00" * 12))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        content = content or bytearray(b"x")
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    path.write_bytes(content)
    try:
        entries = read_safetensors_header(path)
    except ModelError:
        return
    assert all(found.offset + found.num_bytes <= len(content) for found in entries)


def test_metadata_of_any_kind_is_ignored(tmp_path: Path) -> None:
    content = safetensors_bytes(json.dumps({"__metadata__": {"a": 5}, "t": entry()}), b"\x00" * 8)
    assert [found.name for found in read_safetensors_header(write(tmp_path, content))] == ["t"]
