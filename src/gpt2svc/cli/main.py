"""`gpt2svc`: the commands, and how each of them ends.

Importing this module imports typer and nothing heavier: a command imports what it needs when it runs, so that `--help`
and completion answer at once. Exit codes: 0 done, 1 unexpected, 2 the user can put it right, 130 Ctrl-C.
"""

import sys

import typer

from gpt2svc.cli.chat import chat
from gpt2svc.cli.config import config_app
from gpt2svc.cli.convert import convert
from gpt2svc.cli.db import db_app
from gpt2svc.cli.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_UNEXPECTED, error_line, exit_code
from gpt2svc.cli.eval import evaluate
from gpt2svc.cli.export import export_app
from gpt2svc.cli.generate import generate
from gpt2svc.cli.keys import keys_app
from gpt2svc.cli.models import models_app
from gpt2svc.cli.next_token import next_token
from gpt2svc.cli.output import EXIT_BROKEN_PIPE, message, silence_stdout, use_printable_output, write
from gpt2svc.cli.serve import serve
from gpt2svc.cli.tasks import choose, classify
from gpt2svc.cli.train import train_command
from gpt2svc.cli.version import package_version, version
from gpt2svc.errors import Gpt2svcError


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        write(f"gpt2svc {package_version('gpt2svc')}")
        raise typer.Exit


def _root(
    show_version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and leave."
    ),
) -> None:
    """Run GPT-2 models as a service: stream replies, keep conversations, train and look after models."""


def build_app() -> typer.Typer:
    """The command line with all its commands."""
    app = typer.Typer(
        name="gpt2svc",
        no_args_is_help=True,
        # Unexpected errors get Python's own traceback, which is what a bug report needs.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for command in (serve, generate, chat):
        app.command()(command)
    app.command()(train_command())
    app.command("eval")(evaluate)
    app.command("next-token")(next_token)
    app.command()(classify)
    app.command()(choose)
    app.command()(convert)
    app.add_typer(export_app, name="export")
    app.add_typer(models_app, name="models")
    app.add_typer(db_app, name="db")
    app.add_typer(keys_app, name="keys")
    app.add_typer(config_app, name="config")
    app.command()(version)
    return app


def run(arguments: list[str] | None = None) -> int:
    """Run one command line (else that of the process) and return its exit code."""
    use_printable_output()
    try:
        build_app()(arguments, prog_name="gpt2svc")
    except SystemExit as leaving:  # how typer ends every command, its own usage errors included
        code = leaving.code if isinstance(leaving.code, int) else EXIT_OK
    except Gpt2svcError as error:
        message(error_line(error))
        code = exit_code(error)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except Exception:
        import traceback

        traceback.print_exc()
        message(
            "Error: this should not have happened: it is a bug in gpt2svc. Please report it with the lines above and "
            "the output of `gpt2svc version`."
        )
        code = EXIT_UNEXPECTED
    return _with_output_flushed(code)


def _with_output_flushed(code: int) -> int:
    # NOTE: what is still buffered (typer's help, for one) would fail at the interpreter's exit with a message of its
    # own when the reader has left, which is the reader's choice and no error.
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
        return EXIT_BROKEN_PIPE
    return code


def main() -> None:
    sys.exit(run())
