"""The keys in force, as the store has them at most a moment ago."""

import asyncio
import time
from collections.abc import Callable
from contextvars import Context
from hmac import compare_digest

from gpt2svc.api.identity import Identity
from gpt2svc.errors import StorageError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.key_secret import secret_digest
from gpt2svc.persistence.records import ApiKeyRecord

MAX_AGE_S = 0.1


class KeyRing:
    """Keys are created and revoked by another process, on the same file: so the store is asked again, but for however
    many requests come, at most once in `max_age_s`, and the keys are read only when they have changed.
    """

    def __init__(
        self,
        database: Database,
        configured_key: str | None,
        *,
        allow_keyless: bool,
        max_age_s: float = MAX_AGE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`configured_key`: the setting `api_key`, which opens everything.
        `allow_keyless`: whether all may come in while there is no key in the store, revoked ones included."""
        self._database = database
        self._configured_digest = secret_digest(configured_key) if configured_key is not None else None
        self._allow_keyless = allow_keyless and configured_key is None
        self._max_age_s = max_age_s
        self._clock = clock
        self._version: tuple[int, int] | None = None
        self._active: dict[str, ApiKeyRecord] = {}  # by digest
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None  # begun by one who does not wait for it

    async def identify(self, secret: str) -> Identity | None:
        """Whose `secret` it is ("": none was given); None when it opens nothing. Raises StorageError."""
        digest = secret_digest(secret)
        # NOTE: digests have one length and tell nothing about their secrets, so neither do times of comparisons.
        if self._configured_digest is not None and compare_digest(digest, self._configured_digest):
            return Identity()
        await self._refresh()
        return Identity() if self._is_open else self._lookup(digest)

    def known(self, secret: str) -> Identity | None:
        """As `identify` would have said when the keys were read last; None also where it can't be told without a wait.

        Only for a no: a key that was revoked since may still be told that the service is full, and nothing else. The
        keys are read again meanwhile, if they are old.
        """
        if not self._is_fresh() and not self._reading.locked() and self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh_quietly(), context=Context())
        if self._is_open:
            return Identity()
        digest = secret_digest(secret)
        if self._configured_digest is not None and compare_digest(digest, self._configured_digest):
            return Identity()
        return self._lookup(digest)

    @property
    def _is_open(self) -> bool:
        """To everybody, as there is no key."""
        return self._allow_keyless and self._version == (0, 0)

    def _lookup(self, digest: str) -> Identity | None:
        record = self._active.get(digest)
        if record is None or not compare_digest(digest, record.secret_hash):
            return None
        return Identity(record.id, frozenset(record.scopes))

    async def _refresh(self) -> None:
        if self._is_fresh():
            return
        async with self._reading:
            if self._is_fresh():
                return  # somebody else has just read it
            asked_at = self._clock()
            async with self._database.read() as uow:
                version = await uow.api_keys.version()
                if version != self._version:
                    records = await uow.api_keys.list()
                    self._active = {record.secret_hash: record for record in records if record.revoked_at is None}
                    self._version = version
            self._read_at = asked_at

    async def _refresh_quietly(self) -> None:
        try:
            await self._refresh()
        except StorageError:
            pass  # whoever needs the keys next asks again, and is told
        finally:
            self._refreshing = None

    def _is_fresh(self) -> bool:
        return self._clock() - self._read_at < self._max_age_s
