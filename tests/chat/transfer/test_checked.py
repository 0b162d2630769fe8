import pytest

from gpt2svc.chat.transfer.checked import MAX_MESSAGES, check_conversation
from gpt2svc.errors import InvalidInputError

USER = {"id": "1", "role": "user", "content": "Hi"}
REPLY = {"id": "2", "parent_id": "1", "role": "assistant", "content": "Hello", "settings": {"seed": 1}}


def conversation(*messages: object, **fields: object) -> dict[str, object]:
    return {"messages": list(messages), **fields}


def test_sound_conversation_is_complete_afterwards() -> None:
    found = check_conversation(conversation(USER, REPLY, {**REPLY, "id": "3", "status": "generating"}, title=" T "))
    assert found.title == "T"
    assert [message.parent for message in found.messages] == [None, 0, 0]
    assert [message.status for message in found.messages] == ["completed", "completed", "interrupted"]
    assert found.messages[1].settings is not None
    assert found.messages[1].settings["temperature"] == 0.7
    assert [message.id for message in found.messages] == [None] * 3  # none of ours


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "object"),
        ([], "object"),
        ({}, "messages must be a list"),
        (conversation(colour="red"), "colour"),
        (conversation(title=7), "title"),
        (conversation(title="x" * 201), "title"),
        (conversation(title="a\x00"), "NUL"),
        (conversation(model=["m"]), "model"),
        (conversation(settings={"top_p": 7}), "top_p"),
        (conversation(settings=[]), "settings"),
        (conversation(created_at="yesterday"), "created_at"),
        (conversation(created_at=12), "created_at"),
        (conversation(created_at="1969-01-01T00:00:00+00:00"), "1970"),
        (conversation(created_at="0001-01-01T00:00:00+14:00"), "created_at"),
        (conversation(USER, USER), "id of another"),
        (conversation(REPLY), "parent_id"),
        (conversation(*[USER] * (MAX_MESSAGES + 1)), "at most"),
        (conversation({**USER, "role": "robot"}), "role"),
        (conversation({**USER, "role": ["user"]}), "role"),
        (conversation({**USER, "content": None}), "content"),
        (conversation({**USER, "content": " "}), "blank"),
        (conversation({**USER, "content": "x" * 100_001}), "100001"),
        (conversation({**USER, "content": "\ud800"}), "surrogate"),
        (conversation({**USER, "status": "failed"}), "reply"),
        (conversation({**USER, "status": "odd"}), "status"),
        (conversation({**USER, "parent_id": 1}), "parent_id"),
        (conversation({**USER, "id": 5}), "id"),
        (conversation(USER, {**REPLY, "finish_reason": "tired"}), "finish_reason"),
        (conversation(USER, {**REPLY, "settings": {"seed": -1}}), "seed"),
        (conversation(USER, {**REPLY, "usage": {"prompt_tokens": True}}), "usage"),
        (conversation(USER, {**REPLY, "usage": {"prompt_tokens": 1}}), "usage"),
        (conversation(USER, {**REPLY, "error": "x" * 2001}), "error"),
    ],
)
def test_wrong_conversation_is_refused_by_field(value: object, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        check_conversation(value)
