from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2svc.errors import InvalidInputError
from gpt2svc.evaluation.examples import Example, read_examples
from gpt2svc.training.documents import CorpusError


def test_each_kind_of_row_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"text": "plain"}\n\n'
        + '{"prompt": "Q: так?", "completion": " Так."}\r\n'.encode()
        + b'{"messages": [{"role": "user", "content": " hi "}, {"role": "assistant", "content": "hello"},'
        + b' {"role": "user", "content": "and"}]}'
    )
    read = read_examples(path)
    assert read.examples == (
        Example("plain"),
        Example(" Так.", prompt="Q: так?"),
        Example("User: hi\nAssistant: hello"),
    )
    assert read.completions == read.examples[1:2]


def test_all_bad_lines_are_reported_with_number_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        b'{"text": "good"}',
        b"{",
        b"[]",
        b'{"text": " "}',
        b'{"prompt": "only"}',
        b'{"messages": []}',
        b'{"messages": [{"role": "system", "content": ""}]}',
        b'{"messages": [{"role": "user", "content": "no answer"}]}',
        b'{"other": 1}',
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
    ]
    path.write_bytes(b"\n".join(rows))
    with pytest.raises(CorpusError) as caught:
        read_examples(path)
    assert [int(problem.removeprefix(f"{path}:").split(":")[0]) for problem in caught.value.problems] == list(
        range(2, 12)
    )
    assert '"completion" must be a string' in caught.value.problems[3]


def test_missing_and_empty_files_are_refused(tmp_path: Path, rows_file: Callable[..., Path]) -> None:
    with pytest.raises(InvalidInputError, match=r"Can't read .*missing\.jsonl"):
        read_examples(tmp_path / "missing.jsonl")
    with pytest.raises(InvalidInputError, match="no rows"):
        read_examples(rows_file([]))
