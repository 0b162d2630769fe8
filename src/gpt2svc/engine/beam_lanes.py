"""Where the beams of a search live: one slot of the KV cache each. Torch-free."""

from collections.abc import Sequence as Many

from gpt2svc.engine.kv_cache import KVCache
from gpt2svc.engine.prefix_cache import common_prefix
from gpt2svc.engine.sequence import Sequence


class BeamLanes:
    """A lane is a sequence with a slot; the first is that of the request, and reads the prompt for all.

    A beam that goes on stays where it is. Only where it has several continuations the others move into lanes that have
    become free, and bring along what those don't hold already: after the first step mostly the last few tokens.
    """

    def __init__(self, first: Sequence) -> None:
        self._lanes = [first, *first.other_beams]
        self.of_beams = [first]  # by beam: the lane in which it is

    def move(self, parents: Many[int], token_ids: Many[int], cache: KVCache) -> None:
        """Each new beam is the beam `parents[i]` of the step before, all of it computed, with one more token."""
        sources = [self.of_beams[parent] for parent in parents]
        free = [lane for lane in self._lanes if lane not in sources]
        lanes: list[Sequence] = []
        for source in sources:
            lanes.append(source if source not in lanes else _moved(source, free, cache))
        for lane, token_id in zip(lanes, token_ids, strict=True):
            lane.token_ids.append(token_id)
        self.of_beams = lanes

    def keep_best(self, token_ids: Many[int]) -> None:
        """The search is over: the request's own lane becomes the one that holds the most of these tokens."""
        first = self._lanes[0]
        best = max(self._lanes, key=lambda lane: common_prefix(lane.token_ids, token_ids, lane.num_computed_tokens))
        if best is not first:
            for name in ("slot", "token_ids", "num_computed_tokens"):
                mine, other = getattr(first, name), getattr(best, name)
                setattr(first, name, other)
                setattr(best, name, mine)


def _moved(source: Sequence, free: list[Sequence], cache: KVCache) -> Sequence:
    """One of the free lanes, made equal to `source`: the one that has the most in common with it."""
    length = source.num_computed_tokens

    def num_shared(lane: Sequence) -> int:
        return common_prefix(lane.token_ids, source.token_ids, min(lane.num_computed_tokens, length))

    lane = max(free, key=num_shared)
    free.remove(lane)
    cache.copy_positions(source.slot, lane.slot, num_shared(lane), length)
    lane.token_ids = source.token_ids[:length]
    lane.num_computed_tokens = length
    cache.record(lane.slot, lane.request.owner, lane.token_ids, length)
    return lane
