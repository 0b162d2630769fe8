"""One flush window of a generation's token events as the text of a row.

A JSON list with `[token_id, text]` or `[token_id, text, logprobs]` for each event. Their numbers run on without gaps,
so the row's `last_seq` gives them all.
"""

import json
from collections.abc import Sequence

from gpt2svc.persistence.records import TokenRecord


def encode_chunk(tokens: Sequence[TokenRecord]) -> str:
    events = [
        [token.token_id, token.text] if token.logprobs is None else [token.token_id, token.text, dict(token.logprobs)]
        for token in tokens
    ]
    return json.dumps(events, ensure_ascii=False, separators=(",", ":"))


def decode_chunk(last_seq: int, chunk: str) -> list[TokenRecord]:
    events = json.loads(chunk)
    first_seq = last_seq - len(events) + 1
    return [TokenRecord(first_seq + index, *event) for index, event in enumerate(events)]
