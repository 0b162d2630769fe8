from pathlib import Path

import numpy as np
import pytest

from gpt2svc.convert.tensor_bundle import TensorBundle
from gpt2svc.errors import ModelFormatError
from tests.convert import tensor_bundle as fake

VARIABLES = {
    f"model/h{i}/w": np.random.default_rng(i).normal(size=(2, i + 1)).astype(np.float32) for i in range(20)
} | {"scalar": np.float32(3).reshape(())}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return fake.write_bundle(tmp_path / "model.ckpt", VARIABLES)


def index_of(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def data_of(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".data-00000-of-00001")


def test_every_variable_comes_back(prefix: Path) -> None:
    bundle = TensorBundle.open(prefix)
    assert bundle.variables.keys() == VARIABLES.keys()
    for name, variable in bundle.variables.items():
        content = b"".join(bundle.read(variable))
        assert variable.shape == VARIABLES[name].shape
        np.testing.assert_array_equal(np.frombuffer(content, "<f4").reshape(variable.shape), VARIABLES[name])


def test_a_flipped_bit_in_the_data_is_found(prefix: Path) -> None:
    content = bytearray(data_of(prefix).read_bytes())
    content[10] ^= 1
    data_of(prefix).write_bytes(content)
    bundle = TensorBundle.open(prefix)
    with pytest.raises(ModelFormatError, match="checksum"):
        [list(bundle.read(variable)) for variable in bundle.variables.values()]


def test_a_flipped_bit_anywhere_in_the_index_is_an_error_or_changes_nothing(prefix: Path) -> None:
    whole = index_of(prefix).read_bytes()
    expected = TensorBundle.open(prefix).variables
    for place in range(0, len(whole), 7):
        broken = bytearray(whole)
        broken[place] ^= 0x15
        index_of(prefix).write_bytes(broken)
        try:
            found = TensorBundle.open(prefix).variables
        except ModelFormatError:
            continue
        assert found == expected


@pytest.mark.parametrize("size", [0, 10, 47, 100, -1, -60])
def test_a_truncated_index_is_refused(prefix: Path, size: int) -> None:
    index_of(prefix).write_bytes(index_of(prefix).read_bytes()[:size])
    with pytest.raises(ModelFormatError):
        TensorBundle.open(prefix)


def test_truncated_and_missing_data_is_refused_before_anything_is_read(prefix: Path) -> None:
    data_of(prefix).write_bytes(data_of(prefix).read_bytes()[:-1])
    with pytest.raises(ModelFormatError, match="truncated"):
        TensorBundle.open(prefix)
    data_of(prefix).unlink()
    with pytest.raises(ModelFormatError, match="Can't read"):
        TensorBundle.open(prefix)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({b"": fake.header(endianness=1), b"x": b""}, "big-endian"),
        ({b"": fake.header(num_shards=10**6), b"x": b""}, "data files"),
        ({b"x": fake.entry((1,), 0, 4, 0)}, "no header"),
        ({b"": fake.header()}, "no variables"),
        ({b"": fake.header(), b"x": fake.entry((1,), 0, 4, 0, shard=1)}, "data file 1 of 1"),
        ({b"": fake.header(), b"x": fake.entry((3,), 0, 4, 0)}, r"shape \[3\]"),
        ({b"": fake.header(), b"x": fake.entry((1 << 40,), 0, 1 << 42, 0)}, "truncated"),
        ({b"": fake.header(), b"x": b"\xff" * 12}, "damaged"),
        ({b"": fake.header(), b"x": b"\x0a\x7fabc"}, "ends too early"),
    ],
)
def test_forged_indexes_are_refused(prefix: Path, entries: dict[bytes, bytes], said: str) -> None:
    index_of(prefix).write_bytes(fake.table(entries))
    with pytest.raises(ModelFormatError, match=said):
        TensorBundle.open(prefix)


def test_a_compressed_index_is_refused(prefix: Path) -> None:
    index_of(prefix).write_bytes(fake.table({b"": fake.header()}, compression=1))
    with pytest.raises(ModelFormatError, match="compressed"):
        TensorBundle.open(prefix)
