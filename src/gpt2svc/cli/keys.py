"""`gpt2svc keys`: who may use the service. Works beside a running one, which heeds a change at once."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import typer

from gpt2svc.cli.flags import AsJson, DatabaseDataDir
from gpt2svc.cli.output import message, write, write_json, write_table

if TYPE_CHECKING:
    from gpt2svc.persistence.database import Database
    from gpt2svc.persistence.records import ApiKeyRecord, Scope
    from gpt2svc.persistence.unit_of_work import UnitOfWork

T = TypeVar("T")

keys_app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys, also while the service runs.")

_KEY_ID = typer.Argument(..., metavar="KEY_ID", help="As `gpt2svc keys list` shows it: key_…")

_HEADINGS = ("ID", "NAME", "SCOPES", "CREATED", "REVOKED")


@keys_app.command()
def create(
    name: str = typer.Argument(..., help="Whose or what for; only you see it."),
    scope: list[str] = typer.Option(
        ["chat"], "--scope", help="chat: conversations and completions. admin: metrics. May be given twice."
    ),
    data_dir: DatabaseDataDir = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it: this once, for the service keeps only a digest of it."""
    from gpt2svc.persistence.key_secret import new_secret, secret_digest

    secret = new_secret()
    scopes = cast("list[Scope]", scope)  # the store refuses others
    record = _write(
        data_dir, lambda uow: uow.api_keys.create(name=name, scopes=scopes, secret_hash=secret_digest(secret))
    )
    if as_json:
        write_json({**_described(record), "secret": secret})
        return
    message(f"Key {record.id} ({record.name}) for {', '.join(record.scopes)}. It is not shown again:")
    write(secret)


@keys_app.command("list")
def list_keys(data_dir: DatabaseDataDir = None, as_json: AsJson = False) -> None:
    """List all keys, revoked ones too, without their secrets."""
    records = _run(data_dir, _list)
    if as_json:
        write_json([_described(record) for record in records])
        return
    write_table([_HEADINGS, *map(_row, records)])


@keys_app.command()
def revoke(
    key_id: str = _KEY_ID,
    forget: bool = typer.Option(
        False, "--forget", help="Take it off the list too. With none left, a service on loopback is open again."
    ),
    data_dir: DatabaseDataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key useless. What was written with it stays, out of everybody's reach."""

    async def work(uow: "UnitOfWork") -> "ApiKeyRecord":
        record = await uow.api_keys.revoke(key_id)
        if forget:
            await uow.api_keys.delete(key_id)
        return record

    record = _write(data_dir, work)
    if as_json:
        write_json(_described(record))
    else:
        message(f"Key {record.id} ({record.name}) opens nothing any more.")


async def _list(database: "Database") -> "tuple[ApiKeyRecord, ...]":
    async with database.read() as uow:
        return await uow.api_keys.list()


def _write(data_dir: Path | None, work: "Callable[[UnitOfWork], Awaitable[T]]") -> T:
    return _run(data_dir, lambda database: database.write(work))


def _run(data_dir: Path | None, work: "Callable[[Database], Awaitable[T]]") -> T:
    import asyncio

    from gpt2svc.config import load_settings

    return asyncio.run(_with_database(load_settings(data_dir=data_dir).database_path, work))


async def _with_database(path: Path, work: "Callable[[Database], Awaitable[T]]") -> T:
    """Run `work` on the database: as its only user, or beside the service that holds it."""
    from gpt2svc.errors import StorageInUseError
    from gpt2svc.persistence.database import Database

    database = Database(path, num_readers=1, lock_timeout_s=0.0)
    try:
        try:
            await database.open()
        except StorageInUseError:
            await database.open_beside()
        return await work(database)
    finally:
        await database.close()


def _described(record: "ApiKeyRecord") -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "scopes": list(record.scopes),
        "created_at": record.created_at.isoformat(),
        "revoked_at": record.revoked_at.isoformat() if record.revoked_at is not None else None,
    }


def _row(record: "ApiKeyRecord") -> tuple[str, ...]:
    revoked = f"{record.revoked_at:%Y-%m-%d %H:%M}" if record.revoked_at is not None else "-"
    return record.id, record.name, ",".join(record.scopes), f"{record.created_at:%Y-%m-%d %H:%M}", revoked
