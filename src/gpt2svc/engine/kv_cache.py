"""The slots of the KV cache: who has which, and which to take next. Torch-free; the tensors are the model's."""

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

from gpt2svc.engine.prefix_cache import PrefixCache
from gpt2svc.errors import EngineError

# A shorter prefix isn't worth the calls that copy it.
_MIN_COPIED_TOKENS: Final = 16


class PrefixStore(Protocol):
    def copy_prefix(self, source: int, target: int, num_tokens: int) -> None:
        """Copy the first `num_tokens` positions of a slot to another."""
        ...

    def copy_positions(self, source: int, target: int, start: int, end: int) -> None:
        """Copy the positions from `start` to before `end` of a slot to another, and touch no other position of it."""
        ...


class KVCache:
    """Each slot is empty, running (a sequence writes to it) or idle (a finished sequence's tokens, for reuse).

    Empty slots are taken lowest first, which keeps the running ones close together; without one, the idle slot that
    was used longest ago gives way.
    """

    def __init__(self, store: PrefixStore, num_slots: int, *, is_prefix_reuse_enabled: bool = True) -> None:
        self.num_slots = num_slots
        self._store = store
        self._is_prefix_reuse_enabled = is_prefix_reuse_enabled
        self._empty = list(range(num_slots))  # a heap
        self._idle: OrderedDict[int, None] = OrderedDict()  # least recently used first
        self._running: set[int] = set()
        self._prefixes = PrefixCache()

    @property
    def num_free_slots(self) -> int:
        """Slots that a new sequence could have: empty and idle ones."""
        return len(self._empty) + len(self._idle)

    @property
    def running_slots(self) -> frozenset[int]:
        return frozenset(self._running)

    def allocate(self, owner: str, prompt: Sequence[int]) -> tuple[int, int]:
        """A slot for a sequence that starts with `prompt`, and how many of its tokens the slot already holds.

        The longest common prefix among the owner's slots is kept in place where its sequence is finished and little
        would be lost, and copied otherwise. Raises EngineError when no slot is free.
        """
        if not self.num_free_slots:
            raise EngineError("No slot of the KV cache is free.")
        for slot, num_tokens in self._prefixes.matches(owner, prompt):
            if slot in self._idle and (2 * num_tokens >= self._prefixes.num_tokens(slot) or not self._is_spare(slot)):
                del self._idle[slot]
                self._prefixes.remove(slot)
                self._running.add(slot)
                return slot, num_tokens
            if num_tokens >= _MIN_COPIED_TOKENS:
                if slot in self._idle:
                    self._idle.move_to_end(slot)  # in use: not the one to give way
                target = self._take()
                try:
                    self._store.copy_prefix(slot, target, num_tokens)
                except BaseException:
                    self.release(target)
                    raise
                return target, num_tokens
        return self._take(), 0

    def allocate_empty(self) -> int:
        """A slot for a beam, whose content is copied later. Raises EngineError when no slot is free."""
        if not self.num_free_slots:
            raise EngineError("No slot of the KV cache is free.")
        return self._take()

    def copy_positions(self, source: int, target: int, start: int, end: int) -> None:
        """Copy positions of a running slot to another running one; what was recorded of that is forgotten."""
        self._prefixes.remove(target)
        if start < end:
            self._store.copy_positions(source, target, start, end)

    def record(self, slot: int, owner: str, token_ids: Sequence[int], num_computed_tokens: int) -> None:
        """A running slot now holds this much of `token_ids`, for others of the owner to copy."""
        if self._is_prefix_reuse_enabled:
            self._prefixes.put(slot, owner, token_ids, num_computed_tokens)

    def retire(self, slot: int) -> None:
        """The slot's sequence has ended; what was recorded stays for reuse until the slot is needed."""
        if not self._prefixes.num_tokens(slot):
            self.release(slot)
            return
        self._running.remove(slot)
        self._idle[slot] = None

    def release(self, slot: int) -> None:
        """The slot's sequence has ended and what it holds can't be trusted, or isn't worth keeping."""
        self._running.remove(slot)
        self._prefixes.remove(slot)
        heapq.heappush(self._empty, slot)

    def check_integrity(self) -> None:
        """Raises EngineError where a slot is lost, in two states at once, or remembered when it is empty."""
        slots = [*self._empty, *self._idle, *self._running]
        if sorted(slots) != list(range(self.num_slots)):
            raise EngineError(
                f"KV cache: {len(self._empty)} empty, {len(self._idle)} idle and {len(self._running)} running slots "
                f"are not the {self.num_slots} there are."
            )
        if not self._prefixes.slots <= {*self._idle, *self._running} or not self._prefixes.slots >= set(self._idle):
            raise EngineError("KV cache: the recorded prefixes are not those of the idle and running slots.")

    def _is_spare(self, slot: int) -> bool:
        """Whether another slot than this idle one could be taken."""
        return bool(self._empty) or len(self._idle) > 1 or slot not in self._idle

    def _take(self) -> int:
        if self._empty:
            slot = heapq.heappop(self._empty)
        else:
            slot, _ = self._idle.popitem(last=False)
            self._prefixes.remove(slot)
        self._running.add(slot)
        return slot
