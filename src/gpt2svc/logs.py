"""Log lines of every process of the package, on stderr: for people, or one JSON object a line.

No prompt and no reply is ever logged: messages carry ids, counts and times.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from gpt2svc.request_context import current_request_id

# These write statement parameters or each chunk of a stream at DEBUG, and whole URLs, signed ones too, at INFO.
_NOISY = ("aiosqlite", "asyncio", "filelock", "httpcore", "httpx", "huggingface_hub", "sse_starlette", "urllib3")
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def configure_logging(level: str = "info", log_format: str = "text") -> None:
    """Send the root logger's lines to stderr, in place of what it did before.

    `level` is debug, info, warning or error; `log_format` "text" or "json".
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


class TextFormatter(logging.Formatter):
    """`12:30:59 INFO worker.process[4711] message key=value`. Control characters are escaped: one record, one line."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        name = record.name.removeprefix("gpt2svc.")
        extra = "".join(f" {key}={value}" for key, value in _extra(record).items())
        line = _printable(f"{time} {record.levelname} {name}[{record.process}] {record.getMessage()}{extra}")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One object a line: `time` (UTC, ISO 8601), `level`, `logger`, `process`, `message`, and the record's extras."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)  # ASCII: control characters and lone surrogates are escaped


def _extra(record: logging.LogRecord) -> dict[str, object]:
    """What the caller gave as `extra`, and the id of the request in whose course the line was written."""
    request_id = current_request_id()
    found: dict[str, object] = {} if request_id is None else {"request_id": request_id}
    found.update((key, value) for key, value in vars(record).items() if key not in _RESERVED)
    return found


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
