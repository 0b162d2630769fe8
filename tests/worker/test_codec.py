import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2svc.errors import EngineError
from gpt2svc.worker.codec import decode, encode
from gpt2svc.worker.messages import Message
from tests.worker.messages import messages


@given(messages)
def test_every_message_comes_back_equal(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=40) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_anything_else_is_refused_with_one_error(payload: bytes | str) -> None:
    with pytest.raises(EngineError):
        decode(payload.encode() if isinstance(payload, str) else payload)


def test_nested_too_deeply_is_refused() -> None:
    with pytest.raises(EngineError):
        decode(b"[" * 100_000)


def test_a_message_with_a_missing_or_surplus_field_is_refused() -> None:
    for payload in (b'["abort"]', b'["abort","a","b"]', b'["ready",{"name":"x"}]', b'["start",{"wrong":1}]'):
        with pytest.raises(EngineError):
            decode(payload)
