"""`gpt2svc db`: the database's schema and its conversations, for who looks after them without a running service."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gpt2svc.cli.flags import AsOneJsonObject, DatabaseDataDir
from gpt2svc.cli.output import write, write_json
from gpt2svc.cli.transfer import export_conversations, import_conversations

if TYPE_CHECKING:
    from gpt2svc.persistence.schema import SchemaUpgrade

db_app = typer.Typer(
    no_args_is_help=True, help="Show or migrate the database's schema; export and import its conversations."
)
db_app.command("export")(export_conversations)
db_app.command("import")(import_conversations)


@db_app.command()
def upgrade(data_dir: DatabaseDataDir = None, as_json: AsOneJsonObject = False) -> None:
    """Create the database, or bring its schema to this release's; `serve` does the same when it starts.

    An existing file is first copied beside itself. Stop the service before.
    """
    import asyncio

    path = _database_path(data_dir)
    done = asyncio.run(_upgrade(path))
    if as_json:
        write_json(
            {
                "database": str(path),
                "from_revision": done.from_revision,
                "revision": done.to_revision,
                "backup": None if done.backup is None else str(done.backup),
            }
        )
    elif done.from_revision == done.to_revision:
        write(f"{path} is up to date: {done.to_revision}")
    elif done.from_revision is None:
        write(f"Created {path}: {done.to_revision}")
    else:
        write(f"Migrated {path}: {done.from_revision} to {done.to_revision}")
        write(f"As it was before: {done.backup}")


@db_app.command()
def current(data_dir: DatabaseDataDir = None, as_json: AsOneJsonObject = False) -> None:
    """Show the schema revision of the database, and whether it is this release's. Changes nothing."""
    from gpt2svc.persistence.migration_scripts import HEAD_REVISION
    from gpt2svc.persistence.schema import read_revision

    path = _database_path(data_dir)
    revision = read_revision(path)
    is_current = revision == HEAD_REVISION
    if as_json:
        write_json({"database": str(path), "revision": revision, "head": HEAD_REVISION, "is_current": is_current})
    elif revision is None:
        write(f"{path} does not exist yet; `gpt2svc serve` or `gpt2svc db upgrade` creates it.")
    else:
        write(f"{path}: {revision}" + (" (up to date)" if is_current else f" (this release's is {HEAD_REVISION})"))


def _database_path(data_dir: Path | None) -> Path:
    from gpt2svc.config import load_settings

    return load_settings(data_dir=data_dir).database_path


async def _upgrade(path: Path) -> "SchemaUpgrade":
    from gpt2svc.persistence.database import Database

    database = Database(path)
    try:
        return await database.open()
    finally:
        await database.close()
