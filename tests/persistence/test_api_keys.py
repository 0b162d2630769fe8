"""Keys are kept as digests, change nothing but what they should, and say so by their version."""

import asyncio
import fcntl
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from gpt2svc.errors import InvalidInputError, NotFoundError, StorageError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.key_secret import SECRET_PREFIX, new_secret, secret_digest
from gpt2svc.persistence.migration_scripts import MigrationScripts
from gpt2svc.persistence.records import ApiKeyRecord, Scope
from gpt2svc.persistence.stored_keys import has_active_keys
from tests.fakes.clock import Clock


async def _create(database: Database, name: str = "ci", scopes: Sequence[Scope] = ("chat",)) -> ApiKeyRecord:
    digest = secret_digest(new_secret())
    return await database.write(lambda uow: uow.api_keys.create(name=name, scopes=scopes, secret_hash=digest))


async def _version(database: Database) -> tuple[int, int]:
    async with database.read() as uow:
        return await uow.api_keys.version()


def test_secrets_have_256_random_bits_and_a_mark() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret.startswith(SECRET_PREFIX) and len(secret) == len(SECRET_PREFIX) + 43 for secret in secrets)


async def test_keys_are_listed_oldest_first_with_what_they_are_for(database: Database) -> None:
    first = await _create(database, "Олена", ("admin", "chat"))
    second = await _create(database)
    async with database.read() as uow:
        assert await uow.api_keys.list() == (first, second)
    assert first.scopes == ("chat", "admin")
    assert first.id.startswith("key_")
    assert first.revoked_at is None


async def test_no_secret_is_in_the_file(database: Database, path: Path) -> None:
    secret = new_secret()
    await database.write(
        lambda uow: uow.api_keys.create(name="ci", scopes=("chat",), secret_hash=secret_digest(secret))
    )
    await database.close()
    content = await asyncio.to_thread(path.read_bytes)
    assert secret.removeprefix(SECRET_PREFIX).encode() not in content
    assert secret_digest(secret).encode() in content


@pytest.mark.parametrize(
    ("name", "scopes"),
    [("", ["chat"]), ("x" * 101, ["chat"]), ("a\nb", ["chat"]), ("ci", []), ("ci", ["chat", "root"])],
)
async def test_names_and_scopes_that_are_none_are_refused(database: Database, name: str, scopes: list[str]) -> None:
    with pytest.raises(InvalidInputError):
        await _create(database, name, cast(list[Scope], scopes))
    assert await _version(database) == (0, 0)


async def test_revoking_keeps_the_first_time_and_an_unknown_key_is_not_found(database: Database, clock: Clock) -> None:
    key = await _create(database)
    revoked = await database.write(lambda uow: uow.api_keys.revoke(key.id))
    clock.move(timedelta(minutes=1))
    again = await database.write(lambda uow: uow.api_keys.revoke(key.id))
    assert revoked == again
    assert revoked.revoked_at is not None
    for work in (lambda uow: uow.api_keys.revoke("key_x"), lambda uow: uow.api_keys.delete("key_x")):
        with pytest.raises(NotFoundError):
            await database.write(work)


async def test_the_version_changes_with_every_change(database: Database) -> None:
    versions = [await _version(database)]
    keys = [await _create(database), await _create(database)]
    versions.append(await _version(database))
    await database.write(lambda uow: uow.api_keys.revoke(keys[0].id))
    versions.append(await _version(database))
    await database.write(lambda uow: uow.api_keys.delete(keys[0].id))
    versions.append(await _version(database))
    await database.write(lambda uow: uow.api_keys.delete(keys[1].id))
    versions.append(await _version(database))
    assert versions[0] == versions[-1] == (0, 0)
    assert len(set(versions)) == 4


async def test_a_key_that_takes_the_place_of_a_forgotten_one_is_another_version(database: Database) -> None:
    first = await _create(database)
    version = await _version(database)
    await database.write(lambda uow: uow.api_keys.revoke(first.id))
    await database.write(lambda uow: uow.api_keys.delete(first.id))
    await _create(database)
    assert await _version(database) != version


async def test_whether_a_key_is_in_force_shows_without_opening_the_database(database: Database, path: Path) -> None:
    assert not has_active_keys(path.with_name("none.db"))
    assert not has_active_keys(path)
    key = await _create(database)
    assert has_active_keys(path)
    await database.write(lambda uow: uow.api_keys.revoke(key.id))
    assert not has_active_keys(path)
    await database.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE api_keys")
    assert not has_active_keys(path)


async def test_a_second_process_writes_beside_the_first_and_both_see_it(database: Database, path: Path) -> None:
    beside = Database(path, num_readers=1)
    await beside.open_beside()
    try:
        key = await _create(beside)
        other = await _create(database)
        for each in (database, beside):
            async with each.read() as uow:
                assert await uow.api_keys.list() == (key, other)
    finally:
        await beside.close()
    await _create(database)  # the one that stays goes on as before


async def test_writes_of_two_processes_never_overlap(database: Database, path: Path) -> None:
    beside = Database(path, num_readers=1)
    await beside.open_beside()
    try:
        async with beside._write_lock.held():
            write = asyncio.create_task(_create(database))
            await asyncio.sleep(0.01)
            descriptor = database._write_lock._descriptor
            assert descriptor is not None
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert not write.done()
        await write
    finally:
        await beside.close()


async def test_a_service_of_another_release_is_left_alone(database: Database, path: Path) -> None:
    scripts = MigrationScripts(MigrationScripts.bundled().folder, "20991231_other")
    with pytest.raises(StorageError, match="another release"):
        await Database(path, scripts=scripts).open_beside()
