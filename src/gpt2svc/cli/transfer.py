"""`gpt2svc db export` and `gpt2svc db import`: conversations as a file, without a running service."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from gpt2svc.cli.flags import AsOneJsonObject, DatabaseDataDir
from gpt2svc.cli.output import message, write, write_json
from gpt2svc.errors import InvalidInputError

if TYPE_CHECKING:
    from gpt2svc.chat.transfer.export import ExportFormat
    from gpt2svc.chat.transfer.importer import ImportedConversation

_OWNER = typer.Option(
    "", "--owner", help="Whose conversations: the id of a key (keys list); unset, of the configured key or of none."
)
_FILE = typer.Argument(help="A file, or - for standard output (export) or input (import).")


def export_conversations(
    file: str = _FILE,
    *,
    conversation_id: str | None = typer.Option(None, "--conversation", help="Only this one, by its id."),
    as_text: bool = typer.Option(False, "--text", help="Text for reading, with the newest path of each only."),
    owner: str = _OWNER,
    data_dir: DatabaseDataDir = None,
) -> None:
    """Write conversations to a file: JSON with everything, which `db import` and POST /api/import read. Stop the
    service before (or use GET /api/export of the running one).
    """
    import asyncio

    from gpt2svc.config import load_settings

    path = load_settings(data_dir=data_dir).database_path
    if not path.exists():
        raise InvalidInputError(f"There is no database at {path}.", field="data_dir")
    if file == "-":
        num = asyncio.run(_export(path, sys.stdout, owner, conversation_id, "txt" if as_text else "json"))
    else:
        # NOTE: under another name first: a full disk must not leave half a file where a whole one was.
        partial = Path(f"{file}.partial")
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as target:
                num = asyncio.run(_export(path, target, owner, conversation_id, "txt" if as_text else "json"))
            os.replace(partial, file)
        except OSError as error:
            raise InvalidInputError(f"{file} can't be written: {error.strerror}.", field="file") from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    message(f"Exported {num} conversation{'s' if num != 1 else ''}.")


def import_conversations(
    file: str = _FILE,
    *,
    is_dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would happen."),
    as_json: AsOneJsonObject = False,
    owner: str = _OWNER,
    data_dir: DatabaseDataDir = None,
) -> None:
    """Read conversations from an export, JSON or text. What is there already stays as it is; an invalid conversation
    is reported and does not hold up the others. Stop the service before (or use POST /api/import of the running one).
    """
    import asyncio

    from gpt2svc.config import load_settings

    settings = load_settings(data_dir=data_dir)
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{file} can't be read: {error.strerror}.", field="file") from error
    results = asyncio.run(_import(settings.database_path, owner, body, is_dry_run))
    counts = {status: sum(r.status == status for r in results) for status in ("imported", "duplicate", "invalid")}
    if as_json:
        write_json(
            {
                "dry_run": is_dry_run,
                "num_imported": counts["imported"],
                "num_duplicates": counts["duplicate"],
                "num_invalid": counts["invalid"],
                "conversations": [_described(result) for result in results],
            }
        )
    else:
        for result in results:
            name = f"{result.index + 1}. {result.title or '(no title)'}"
            write(f"{result.status:<9}  {name}" + (f": {result.reason}" if result.reason else ""))
        would = "would be " if is_dry_run else ""
        message(
            f"{counts['imported']} {would}imported, {counts['duplicate']} there already, {counts['invalid']} invalid."
        )
    if counts["invalid"]:
        raise typer.Exit(2)


def _described(result: "ImportedConversation") -> dict[str, str | int | None]:
    return {
        "index": result.index,
        "title": result.title,
        "num_messages": result.num_messages,
        "status": result.status,
        "conversation_id": result.conversation_id,
        "reason": result.reason,
    }


async def _export(
    path: Path, target: TextIO, owner: str, conversation_id: str | None, export_format: "ExportFormat"
) -> int:
    from gpt2svc.chat.transfer.export import ConversationExport
    from gpt2svc.persistence.database import Database

    async with Database(path) as database:
        export = ConversationExport(database)
        ids = await export.prepare(owner, conversation_id)
        async for chunk in export.chunks(owner, ids, export_format):
            if target is sys.stdout:
                write(chunk, end="")
            else:
                target.write(chunk)
    return len(ids)


async def _import(path: Path, owner: str, body: bytes, is_dry_run: bool) -> "list[ImportedConversation]":
    from gpt2svc.chat.transfer.importer import ConversationImport
    from gpt2svc.persistence.database import Database

    async with Database(path) as database:
        return await ConversationImport(database).run(owner, body, dry_run=is_dry_run)
