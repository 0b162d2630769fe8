"""Which tokens the slots of the KV cache hold, and the longest common prefix with a new prompt. Torch-free."""

from collections.abc import Sequence
from typing import NamedTuple


class PrefixMatch(NamedTuple):
    slot: int
    num_tokens: int  # of the prompt that the slot holds


class PrefixCache:
    """Slots by owner: a prefix is only ever found by the owner who paid for it.

    A slot's tokens are registered as a list that may go on growing elsewhere (a running sequence's own list) together
    with how many of them are computed.
    """

    def __init__(self) -> None:
        self._slots: dict[str, dict[int, tuple[Sequence[int], int]]] = {}
        self._owners: dict[int, str] = {}

    def put(self, slot: int, owner: str, token_ids: Sequence[int], num_computed_tokens: int) -> None:
        """The slot now holds the first `num_computed_tokens` of `token_ids`."""
        if self._owners.get(slot, owner) != owner:
            self.remove(slot)
        self._owners[slot] = owner
        self._slots.setdefault(owner, {})[slot] = (token_ids, num_computed_tokens)

    def remove(self, slot: int) -> None:
        """Forget what the slot holds; unknown slots are ignored."""
        owner = self._owners.pop(slot, None)
        if owner is not None:
            slots = self._slots[owner]
            del slots[slot]
            if not slots:
                del self._slots[owner]

    def num_tokens(self, slot: int) -> int:
        """How many tokens the slot holds: 0 where it is unknown."""
        owner = self._owners.get(slot)
        return 0 if owner is None else self._slots[owner][slot][1]

    def matches(self, owner: str, prompt: Sequence[int]) -> list[PrefixMatch]:
        """Slots of `owner` that share at least one token with the start of `prompt`, longest first.

        Never the whole prompt: its last token has to be computed, since its logits are not kept.
        """
        found = []
        for slot, (token_ids, num_computed) in self._slots.get(owner, {}).items():
            length = common_prefix(token_ids, prompt, min(num_computed, len(prompt) - 1))
            if length:
                found.append(PrefixMatch(slot, length))
        found.sort(key=lambda match: (-match.num_tokens, match.slot))
        return found

    @property
    def slots(self) -> frozenset[int]:
        return frozenset(self._owners)


def common_prefix(a: Sequence[int], b: Sequence[int], limit: int) -> int:
    """Length of the longest common prefix, at most `limit`; by halves, since comparing slices runs in C."""
    limit = min(limit, len(a), len(b))
    if limit <= 0 or a[0] != b[0]:
        return 0
    low, high = 1, limit  # the first `low` are equal
    while low < high:
        middle = (low + high + 1) // 2
        if list(a[low:middle]) == list(b[low:middle]):
            low = middle
        else:
            high = middle - 1
    return low
