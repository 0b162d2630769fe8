"""Between owners, whoever has the fewest running is next: a long queue holds up only its own owner."""

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.kv_cache import KVCache
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.scheduler import Scheduler
from gpt2svc.engine.sequence import Sequence
from gpt2svc.engine.types import EngineRequest
from tests.fakes.model import TokenCache


def _scheduler(max_num_seqs: int, names: str) -> Scheduler:
    """`names` queue in this order: "a1" is the first request of the owner "a"."""
    scheduler = Scheduler(EngineConfig(max_num_seqs=max_num_seqs), KVCache(TokenCache(max_num_seqs), max_num_seqs))
    for name in names.split():
        scheduler.add(Sequence(EngineRequest(name, (1, 2), SamplingParams(seed=0), owner=name[0])))
    return scheduler


def _order(scheduler: Scheduler) -> list[str]:
    """In which order they get their slots when the oldest running one always ends."""
    order: list[str] = []
    while scheduler.waiting or scheduler.running:
        for item in scheduler.schedule():
            if item.sequence.request_id not in order:
                order.append(item.sequence.request_id)
        scheduler.check_integrity()
        scheduler.finish(scheduler.running[0])
    return order


def test_one_owner_is_served_in_order() -> None:
    assert _order(_scheduler(2, "a1 a2 a3 a4")) == ["a1", "a2", "a3", "a4"]


def test_a_single_request_of_another_owner_does_not_wait_for_a_long_queue() -> None:
    assert _order(_scheduler(2, "a1 a2 a3 a4 a5 b1")) == ["a1", "b1", "a2", "a3", "a4", "a5"]
    scheduler = _scheduler(2, "a1 a2 a3 a4")
    scheduler.schedule()
    scheduler.add(Sequence(EngineRequest("b1", (1, 2), SamplingParams(seed=0), owner="b")))
    scheduler.finish(scheduler.running[0])
    scheduler.schedule()
    assert [sequence.request_id for sequence in scheduler.running] == ["a2", "b1"]


def test_the_wait_for_a_slot_is_summed_up() -> None:
    scheduler = _scheduler(1, "a1 a2")
    scheduler.schedule()
    first = scheduler.queued_s
    assert (scheduler.num_admitted, first > 0) == (1, True)
    scheduler.finish(scheduler.running[0])
    scheduler.schedule()
    assert scheduler.num_admitted == 2
    assert scheduler.queued_s > first


def test_owners_take_turns() -> None:
    assert _order(_scheduler(1, "a1 a2 a3 b1 b2")) == ["a1", "b1", "a2", "b2", "a3"]
    assert _order(_scheduler(4, "a1 a2 a3 b1 b2 c1")) == ["a1", "b1", "c1", "a2", "b2", "a3"]
