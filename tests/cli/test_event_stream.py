import json

import pytest

from gpt2svc.cli.event_stream import ServerEvent, read_events

STREAM = (
    ": ping\n\n"
    'event: started\ndata: {"seed": 7}\n\n'
    'event: token\nid: 1\ndata: {"text": "Привіт\u2028\u0085 🙂"}\n\n'
    ": ping\n\n"
    'event: done\r\nid: 2\r\ndata: {"status":\r\ndata: "completed"}\r\n\r\n'
).encode()

EVENTS = [
    ServerEvent("started", {"seed": 7}),
    ServerEvent("token", {"text": "Привіт\u2028\u0085 🙂"}, "1"),
    ServerEvent("done", {"status": "completed"}, "2"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_bytes_are_cut(size: int) -> None:
    chunks = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert list(read_events(chunks)) == EVENTS


def test_an_unfinished_event_is_left_out() -> None:
    assert list(read_events([STREAM[:-2]])) == EVENTS[:2]


def test_data_that_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        list(read_events([b"data: " + json.dumps([1]).encode() + b"\n\n"]))
