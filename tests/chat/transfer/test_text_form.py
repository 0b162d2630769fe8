from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2svc.chat.transfer.text_form import FILE_START, read_text, render_text
from gpt2svc.errors import InvalidInputError
from gpt2svc.persistence.records import MessageRecord, Role


def message(role: Role, content: str) -> MessageRecord:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    return MessageRecord("m", "c", None, role, content, "completed", *([None] * 7), now)  # type: ignore[arg-type]


def test_file_reads_as_people_write() -> None:
    text = FILE_START + render_text("Trains", [message("user", "When?"), message("assistant", "At six.\n\nOr seven.")])
    assert text == (
        "# gpt2svc conversations 1\n\n=== Trains\n--- User\nWhen?\n\n--- Assistant\nAt six.\n\nOr seven.\n\n"
    )


characters = st.characters(exclude_categories=("Cs",), exclude_characters="\r\x00")
pieces = st.text(characters, max_size=5) | st.sampled_from(["\n---", "\n===", "\\", "\n\\", "\n", "--- User\n"])
contents = st.lists(pieces, min_size=1, max_size=6).map("".join).filter(lambda text: text.strip())


@given(st.lists(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), contents)), max_size=3))
def test_any_text_comes_back_as_it_was(conversations: list[list[tuple[Role, str]]]) -> None:
    text = FILE_START + "".join(
        render_text(f"Number {index}", [message(role, content) for role, content in messages])
        for index, messages in enumerate(conversations)
    )
    found = list(read_text(text))
    assert [conversation["title"] for conversation in found] == [f"Number {i}" for i in range(len(conversations))]
    assert [[(m["role"], m["content"]) for m in conversation["messages"]] for conversation in found] == conversations
    for conversation in found:
        parents = [m["parent_id"] for m in conversation["messages"]]
        assert parents == [None, *map(str, range(len(parents)))][: len(parents)]


def test_files_of_other_editors_are_read() -> None:
    text = "# gpt2svc conversations 1\r\n\r\n===\r\n--- User\r\nHello\r\n--- Assistant\r\nHi"
    [conversation] = read_text(text)
    assert conversation["title"] is None
    assert [m["content"] for m in conversation["messages"]] == ["Hello", "Hi"]


@pytest.mark.parametrize("text", ["", "Hello", "# gpt2svc conversations 2\n", "# gpt2svc conversations 1\nHello\n"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        list(read_text(text))
