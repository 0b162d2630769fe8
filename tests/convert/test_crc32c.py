import random

import pytest

from gpt2svc.convert.crc32c import Crc32c, masked_crc32c
from tests.convert.tensor_bundle import crc32c, masked


def test_the_published_check_value() -> None:
    crc = Crc32c()
    crc.update(b"123456789")
    assert crc.value == 0xE3069283
    assert Crc32c().value == 0


@pytest.mark.parametrize("size", [0, 1, 63, 64, 127, 128, 1000, 4097, 20011])
def test_lanes_give_what_the_plain_loop_gives_in_one_piece_and_in_many(size: int) -> None:
    content = random.Random(size).randbytes(size)
    assert masked_crc32c(content) == masked(crc32c(content))
    crc = Crc32c()
    for start in range(0, size, 777):
        crc.update(memoryview(content)[start : start + 777])
    assert crc.masked == masked(crc32c(content))
