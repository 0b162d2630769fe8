import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.documents import CorpusError, read_sources
from gpt2svc.training.settings import Source
from tests.training.conftest import chat_row

RowsFile = Callable[..., Path]


def test_chat_and_text_rows_become_documents_in_order(rows_file: RowsFile) -> None:
    (read,) = read_sources((Source(rows_file(chat_row("Hi", "Hello"), {"text": "Просто текст 🙂"})),))
    assert [document.text for document in read.documents] == ["User: Hi\nAssistant: Hello", "Просто текст 🙂"]
    assert [document.is_conversation for document in read.documents] == [True, False]


def test_messages_after_the_last_reply_are_left_out(rows_file: RowsFile) -> None:
    (read,) = read_sources((Source(rows_file(chat_row("Hi", "Hello", "Are you there?"))),))
    assert read.documents[0].text == "User: Hi\nAssistant: Hello"


def test_a_byte_order_mark_and_blank_lines_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"text": "one"}).encode() + b'\r\n\n  \n{"text": "two"}')
    (read,) = read_sources((Source(path),))
    assert [document.text for document in read.documents] == ["one", "two"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": ', "not JSON"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b"[1, 2]", "an object is needed, not list"),
        (b'{"question": "x"}', 'none of "text", "messages"'),
        (b'{"prompt": "x"}', '"completion" must be a string'),
        (b'{"text": "  "}', "not blank"),
        (b'{"text": 5}', "must be a string"),
        (b'{"text": "\\ud800"}', "lone surrogate"),
        (b'{"messages": []}', "not empty"),
        (b'{"messages": [3]}', "messages[0] must be an object"),
        (b'{"messages": [{"role": "system", "content": "x"}]}', "no assistant's message"),
        (b'{"messages": [{"role": "tool", "content": "x"}]}', "messages[0].role"),
        (b'{"messages": [{"role": "assistant", "content": "x", "weight": 2}]}', "messages[0].weight must be 0 or 1"),
        (b'{"conversations": [{"from": "alien", "value": "x"}]}', "conversations[0].from"),
        (b'{"instruction": "x"}', '"output" must be a string'),
        (b'{"sequence": []}', '"sequence" must be a list that is not empty'),
        (b'{"tokens": [1, -2]}', "tokens[1] must be at least 0"),
        (b'{"input_ids": [1, 2.5]}', "input_ids[1] must be a token id"),
        (b'{"sequence": [1], "label": -1}', '"label" must be at least 0'),
        (b'{"prompt": "x", "choices": ["a", "b"], "label": 2}', "from 0 to 1"),
        (b'{"text": "x", "label": 1e999}', '"label" must be a whole number'),
        (b'{"messages": [{"role": "user", "content": null}]}', "messages[0].content"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "no assistant's message"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' + line + b"\n")
    with pytest.raises(CorpusError) as caught:
        read_sources((Source(path),))
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}:2: ")
    assert reason in problem


def test_bad_lines_of_all_files_are_listed_up_to_twenty(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text("nonsense\n" * 15)
    second.write_text("nonsense\n" * 15)
    with pytest.raises(CorpusError, match="30 lines") as caught:
        read_sources((Source(first), Source(second)))
    assert len(caught.value.problems) == 20
    assert caught.value.problems[-1].startswith(f"{second}:5:")


def test_an_empty_or_unreadable_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    for path in (empty, tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(InvalidInputError, match=str(path)):
            read_sources((Source(path),))


def test_excluded_patterns_and_surplus_duplicates_are_left_out_and_counted(rows_file: RowsFile) -> None:
    rows = [chat_row("Hi", "a"), chat_row("Hi", "b"), chat_row("Hi", "c"), chat_row("Robots?", "rule")]
    (read,) = read_sources((Source(rows_file(*rows), exclude=(r"^User: robots",), max_duplicates=2),))
    assert [document.text[-1] for document in read.documents] == ["a", "b"]
    assert read.num_excluded == 2


def test_a_broken_pattern_is_an_error(rows_file: RowsFile) -> None:
    with pytest.raises(InvalidInputError, match="not a regular expression"):
        read_sources((Source(rows_file({"text": "x"}), exclude=("(",)),))


def test_a_file_of_which_nothing_is_left_is_an_error(rows_file: RowsFile) -> None:
    with pytest.raises(InvalidInputError, match="every row is excluded"):
        read_sources((Source(rows_file({"text": "x"}), exclude=("x",)),))
