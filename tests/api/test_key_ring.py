import asyncio
from pathlib import Path

import pytest

from gpt2svc.api.identity import Identity
from gpt2svc.api.key_ring import KeyRing
from gpt2svc.errors import StorageError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.key_secret import new_secret, secret_digest


class CountingDatabase(Database):
    num_reads = 0

    def read(self):  # type: ignore[no-untyped-def]
        self.num_reads += 1
        return super().read()


class Seconds:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> CountingDatabase:
    return CountingDatabase(tmp_path / "gpt2svc.db", synchronous="NORMAL")


async def test_however_many_requests_come_the_store_is_asked_once_in_a_while(database: CountingDatabase) -> None:
    clock = Seconds()
    async with database:
        ring = KeyRing(database, None, allow_keyless=True, max_age_s=0.1, clock=clock)
        assert await asyncio.gather(*(ring.identify("") for _ in range(100))) == [Identity()] * 100
        assert database.num_reads == 1
        clock.now += 0.2
        await ring.identify("")
        assert database.num_reads == 2


async def test_changes_count_as_soon_as_the_store_is_asked_again(database: CountingDatabase) -> None:
    clock, secret = Seconds(), new_secret()
    async with database:
        ring = KeyRing(database, None, allow_keyless=True, max_age_s=0.1, clock=clock)
        await ring.identify("")
        key = await database.write(
            lambda uow: uow.api_keys.create(name="ci", scopes=("chat",), secret_hash=secret_digest(secret))
        )
        clock.now += 0.2
        assert await ring.identify(secret) == Identity(key.id, frozenset({"chat"}))
        assert await ring.identify("") is None
        await database.write(lambda uow: uow.api_keys.revoke(key.id))
        clock.now += 0.2
        assert await ring.identify(secret) is None


async def test_a_key_that_was_replaced_unseen_opens_nothing_and_the_new_one_does(database: CountingDatabase) -> None:
    clock, old, new = Seconds(), new_secret(), new_secret()
    async with database:
        ring = KeyRing(database, None, allow_keyless=False, max_age_s=0.1, clock=clock)
        first = await database.write(
            lambda uow: uow.api_keys.create(name="ci", scopes=("chat",), secret_hash=secret_digest(old))
        )
        assert await ring.identify(old) == Identity(first.id, frozenset({"chat"}))
        await database.write(lambda uow: uow.api_keys.revoke(first.id))
        await database.write(lambda uow: uow.api_keys.delete(first.id))
        second = await database.write(
            lambda uow: uow.api_keys.create(name="ci", scopes=("chat",), secret_hash=secret_digest(new))
        )
        clock.now += 0.2
        assert await ring.identify(old) is None
        assert await ring.identify(new) == Identity(second.id, frozenset({"chat"}))


async def test_a_store_that_cannot_be_read_opens_nothing_but_to_the_configured_key(database: CountingDatabase) -> None:
    ring = KeyRing(database, "a-key-of-some-length-1", allow_keyless=True)
    with pytest.raises(StorageError):
        await ring.identify(new_secret())
    assert await ring.identify("a-key-of-some-length-1") == Identity()
