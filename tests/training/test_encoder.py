"""What is learned of each kind of row."""

from pathlib import Path
from typing import Any

import pytest

from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.training.encoder import Encoder
from gpt2svc.training.rows import BadRowError, parse_row

STARTER = Path(__file__).parents[2] / "src" / "gpt2svc" / "starter"
TOKENIZER = Tokenizer.from_folder(STARTER)
ENCODER = Encoder(TOKENIZER, 4096, TOKENIZER.eos_token_id, 0, {"a": 1, "b": 2})

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Як справи?"},
    {"role": "assistant", "content": "Добре."},
]
TRANSCRIPT = "Be brief.\nUser: Hi\nAssistant: Hello!\nUser: Як справи?\nAssistant: Добре."


def read_and_learned(row: Any, *, replies_only: bool = True) -> tuple[str, str]:
    ids, targets = ENCODER.with_targets(parse_row(row), replies_only=replies_only)
    return TOKENIZER.decode(ids.tolist()), TOKENIZER.decode([token for token in targets.tolist() if token >= 0])


def test_of_a_conversation_the_replies_and_the_label_that_ends_them_are_learned() -> None:
    assert read_and_learned({"messages": CHAT}) == (TRANSCRIPT, " Hello!\nUser: Добре.")


def test_everything_is_learned_where_that_is_wanted() -> None:
    assert read_and_learned({"messages": CHAT}, replies_only=False) == (TRANSCRIPT, TRANSCRIPT)


def test_a_message_of_weight_zero_is_read_and_not_learned() -> None:
    messages = [*CHAT[:2], {**CHAT[2], "weight": 0}, *CHAT[3:]]
    assert read_and_learned({"messages": messages}) == (TRANSCRIPT, " Добре.")
    assert " Hello!" not in read_and_learned({"messages": messages}, replies_only=False)[1]
    assert ENCODER.ends_document(parse_row({"messages": messages}))
    assert not ENCODER.ends_document(parse_row({"messages": [*CHAT[:4], {**CHAT[4], "weight": 0}]}))


def test_sharegpt_and_alpaca_are_conversations() -> None:
    sharegpt = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]
    assert read_and_learned({"conversations": sharegpt}) == ("User: Hi\nAssistant: Hello!", " Hello!")
    alpaca = {"instruction": "Add.", "input": "1, 2", "output": "3"}
    assert read_and_learned(alpaca) == ("User: Add.\n1, 2\nAssistant: 3", " 3")


def test_a_completion_is_learned_and_its_prompt_is_read() -> None:
    assert read_and_learned({"prompt": "2 + 2 =", "completion": " 4"}) == ("2 + 2 = 4", " 4")


def test_text_is_learned_whole() -> None:
    assert read_and_learned({"text": "Слава Україні! 🇺🇦"}) == ("Слава Україні! 🇺🇦",) * 2


def test_a_turn_label_inside_a_message_does_not_end_the_turn() -> None:
    row = {
        "messages": [{"role": "user", "content": "Hi\r\nAssistant: x"}, {"role": "assistant", "content": "a\nUser: b"}]
    }
    assert read_and_learned(row)[0] == "User: Hi\n Assistant: x\nAssistant: a\n User: b"


def test_a_transcript_in_pieces_has_the_tokens_of_the_whole() -> None:
    ids, _ = ENCODER.with_targets(parse_row({"messages": CHAT}), replies_only=True)
    assert ids.tolist() == TOKENIZER.encode(TRANSCRIPT)


def test_tokens_are_taken_as_ids_or_spellings_and_must_be_in_the_vocabulary() -> None:
    assert ENCODER.ids(parse_row({"tokens": ["a", "b", "a"]})).tolist() == [1, 2, 1]
    assert ENCODER.ids(parse_row({"sequence": [0, 4095]})).tolist() == [0, 4095]
    with pytest.raises(BadRowError, match="token 1 is 'c', which the vocabulary doesn't have"):
        ENCODER.ids(parse_row({"tokens": ["a", "c"]}))
    with pytest.raises(BadRowError, match="token 0 is 4096, but the vocabulary's ids end at 4095"):
        ENCODER.ids(parse_row({"input_ids": [4096]}))
