import json

import pytest

from gpt2svc.chat.transfer.json_form import FORMAT, read_json
from gpt2svc.errors import InvalidInputError


def file_of(*conversations: object, **header: object) -> str:
    return json.dumps({"format": FORMAT, "version": 1, **header, "conversations": list(conversations)})


def test_conversations_come_one_by_one_whatever_the_layout() -> None:
    for indent in (None, 3):
        value = json.loads(file_of({"a": [1, {"b": "]}"}]}, 2, "x", note={"deep": [1]}))
        assert list(read_json(json.dumps(value, indent=indent))) == [{"a": [1, {"b": "]}"}]}, 2, "x"]
    assert list(read_json(file_of())) == []
    reordered = '{"conversations": [1], "version": 1, "format": "gpt2svc-conversations"}'
    assert list(read_json(reordered)) == [1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "line 1"),
        ("{}", "not an export"),
        ('{"conversations": []}', "not an export"),
        (file_of(format="other"), "not an export"),
        (file_of(version=2), "version 2"),
        (file_of(version=True), "version True"),
        (file_of() + "x", "after its end"),
        (file_of(1)[:-3], "line 1"),
        (file_of().replace("[]", "[NaN]"), "not valid JSON"),
        (file_of().replace("[]", "[1 2]"), "missing"),
        (file_of().replace("[]", "[" * 100_000), "too deep"),
        (file_of().replace("[]", "[" + "9" * 10_000 + "]"), "not valid JSON"),
        (file_of().replace("[]", "\n\n[1,]"), "line 3"),
    ],
)
def test_broken_file_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        list(read_json(text))
