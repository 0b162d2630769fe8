import json
import logging
from collections.abc import Iterator

import pytest

from gpt2svc.logs import configure_logging


@pytest.fixture(autouse=True)
def _root_logger_is_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_carry_level_logger_message_and_extras(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    logging.getLogger("gpt2svc.x").info("took %d ms", 5, extra={"request_id": "r1"})
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"], line["request_id"]) == (
        "info",
        "gpt2svc.x",
        "took 5 ms",
        "r1",
    )
    assert line["time"].endswith("+00:00")


def test_a_record_with_control_characters_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for log_format in ("text", "json"):
        configure_logging("info", log_format)
        logging.getLogger("gpt2svc.x").warning("a\nERROR b\x1b[31m\u2028\ud800 привіт")
        lines = capsys.readouterr().err
        assert lines.count("\n") == 1
        assert "\x1b" not in lines
    assert "x[" not in lines


def test_text_lines_name_level_and_logger_and_keep_letters(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    logging.getLogger("gpt2svc.worker").warning("привіт", extra={"model": "starter"})
    line = capsys.readouterr().err
    assert "WARNING worker[" in line
    assert line.endswith("привіт model=starter\n")


def test_errors_come_with_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for log_format in ("text", "json"):
        configure_logging("error", log_format)
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("gpt2svc").exception("failed")
        assert "ValueError: why" in capsys.readouterr().err


def test_lines_below_the_level_and_the_chatter_of_libraries_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug")
    logging.getLogger("aiosqlite").debug("parameters of a statement")
    logging.getLogger("httpx").info("a signed URL")
    logging.getLogger("gpt2svc").debug("ours")
    configure_logging("warning")
    logging.getLogger("gpt2svc").info("too quiet")
    lines = capsys.readouterr().err
    assert "ours" in lines
    assert "parameters" not in lines
    assert "signed" not in lines
    assert "too quiet" not in lines


def test_configuring_twice_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    logging.getLogger("gpt2svc").info("once")
    assert capsys.readouterr().err.count("once") == 1
