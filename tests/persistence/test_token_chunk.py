from gpt2svc.persistence.records import TokenRecord
from gpt2svc.persistence.token_chunk import decode_chunk, encode_chunk


def test_events_come_back_as_they_were() -> None:
    events = [
        TokenRecord(8, 0, ""),
        TokenRecord(9, 50256, 'Привіт 👋\u2028"\\\n'),
        TokenRecord(10, 5, "x", {"logprob": -0.1234567890123456, "top": [[5, -0.5], [6, float("-inf")]]}),
    ]
    assert decode_chunk(10, encode_chunk(events)) == events


def test_an_event_costs_few_bytes_beside_its_text() -> None:
    assert len(encode_chunk([TokenRecord(seq, 12345, " word") for seq in range(1, 101)])) < 100 * 20
