import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2svc.errors import EngineError
from gpt2svc.worker.framing import MAX_FRAME_BYTES, FrameReader, frame


@given(st.lists(st.binary(max_size=300), max_size=10), st.data())
def test_payloads_survive_any_cut_of_the_stream(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, payloads))
    reader = FrameReader()
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == payloads


def test_an_announced_length_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(EngineError, match="limit"):
        list(FrameReader().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big")))


def test_a_payload_over_the_limit_is_not_written() -> None:
    assert len(frame(bytes(MAX_FRAME_BYTES))) == MAX_FRAME_BYTES + 4
    with pytest.raises(EngineError, match="limit"):
        frame(bytes(MAX_FRAME_BYTES + 1))
