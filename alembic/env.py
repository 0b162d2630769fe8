"""Runs the migrations: at the service's start on a connection that it hands over, or for the `alembic` command."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection, engine_from_config, pool

from gpt2svc.persistence.tables import Base, UtcDateTime


def render_item(kind: str, item: Any, autogenerate: Any) -> str | Literal[False]:
    """Scripts name the database's own types: they have to mean the same when the package has moved on."""
    return "sa.BigInteger()" if kind == "type" and isinstance(item, UtcDateTime) else False


def run(connection: Connection) -> None:
    # SQLite can't alter most of a table in place: batch mode copies it into a new one.
    context.configure(
        connection=connection, target_metadata=Base.metadata, render_as_batch=True, render_item=render_item
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    if context.is_offline_mode():
        raise SystemExit("Migrations need the database at hand: --sql is not supported.")
    given = context.config.attributes.get("connection")
    if given is not None:
        run(given)
        return
    section = context.config.get_section(context.config.config_ini_section, {})
    engine = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
    with engine.begin() as connection:
        run(connection)


main()
