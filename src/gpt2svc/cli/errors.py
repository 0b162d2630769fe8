"""How an error ends a command: one line for people and an exit code for programs."""

from gpt2svc.errors import EngineError, Gpt2svcError, UnavailableError

EXIT_OK = 0
EXIT_UNEXPECTED = 1  # a bug, or the engine failed: the input was not at fault
EXIT_USER_ERROR = 2  # something that the user can put right; also what typer gives for wrong flags
EXIT_INTERRUPTED = 130  # 128 + SIGINT: Ctrl-C

# NOTE: the first class that matches decides, so a subclass stands before its base.
_EXIT_CODES: tuple[tuple[type[Gpt2svcError], int], ...] = (
    (EngineError, EXIT_UNEXPECTED),
    (UnavailableError, EXIT_UNEXPECTED),
    (Gpt2svcError, EXIT_USER_ERROR),
)


def exit_code(error: Gpt2svcError) -> int:
    """Of a command that ended with `error`."""
    if type(error) is Gpt2svcError:
        return EXIT_UNEXPECTED
    return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))


def error_line(error: Gpt2svcError) -> str:
    """`error` as one line, whatever line breaks its message holds."""
    return "Error: " + " ".join(error.message.split())
