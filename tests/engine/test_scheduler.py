from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.kv_cache import KVCache
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.scheduler import Scheduled, Scheduler
from gpt2svc.engine.sequence import Sequence
from gpt2svc.engine.types import EngineRequest
from tests.fakes.model import TokenCache


def _scheduler(max_num_seqs: int = 4, max_num_batched_tokens: int = 8) -> Scheduler:
    config = EngineConfig(max_num_seqs=max_num_seqs, max_num_batched_tokens=max_num_batched_tokens)
    return Scheduler(config, KVCache(TokenCache(max_num_seqs), max_num_seqs))


def _add(scheduler: Scheduler, name: str, num_tokens: int) -> Sequence:
    request = EngineRequest(name, tuple(range(num_tokens)), SamplingParams(seed=0), owner=name)
    sequence = Sequence(request)
    scheduler.add(sequence)
    return sequence


def _step(scheduler: Scheduler) -> list[tuple[str, int]]:
    scheduled = scheduler.schedule()
    for item in scheduled:
        is_sampled = item.is_sampled
        scheduler.computed(item)
        if is_sampled:
            item.sequence.token_ids.append(0)
    scheduler.check_integrity()
    return [(item.sequence.request_id, item.num_tokens) for item in scheduled]


def test_prompts_are_read_in_chunks_first_come_first_served() -> None:
    scheduler = _scheduler()
    _add(scheduler, "a", 11)
    _add(scheduler, "b", 3)
    assert _step(scheduler) == [("a", 8)]
    assert _step(scheduler) == [("a", 3), ("b", 3)]
    assert _step(scheduler) == [("a", 1), ("b", 1)]


def test_decoding_sequences_get_their_row_before_any_prompt() -> None:
    scheduler = _scheduler()
    _add(scheduler, "a", 2)
    assert _step(scheduler) == [("a", 2)]
    _add(scheduler, "long", 50)
    for _ in range(7):
        assert _step(scheduler) == [("a", 1), ("long", 7)]
    assert _step(scheduler) == [("a", 1), ("long", 1)]


def test_prompts_are_read_in_smaller_chunks_while_others_decode() -> None:
    config = EngineConfig(max_num_seqs=4, max_num_batched_tokens=100, max_num_prompt_tokens_beside=10)
    scheduler = Scheduler(config, KVCache(TokenCache(4), 4))
    _add(scheduler, "a", 40)
    assert _step(scheduler) == [("a", 40)]
    _add(scheduler, "b", 15)
    _add(scheduler, "c", 15)
    assert _step(scheduler) == [("a", 1), ("b", 10)]
    assert _step(scheduler) == [("a", 1), ("b", 5), ("c", 5)]


def test_prompts_go_on_however_many_decode() -> None:
    scheduler = _scheduler(max_num_seqs=4, max_num_batched_tokens=1)
    for name in ("a", "b", "c"):
        _add(scheduler, name, 1)
    while len(scheduler.running) < 3:
        _step(scheduler)
    _add(scheduler, "d", 3)
    assert _step(scheduler) == [("a", 1), ("b", 1), ("c", 1), ("d", 1)]


def test_no_more_run_than_there_are_slots() -> None:
    scheduler = _scheduler(max_num_seqs=2, max_num_batched_tokens=100)
    first = _add(scheduler, "a", 3)
    for name in ("b", "c", "d"):
        _add(scheduler, name, 3)
    assert _step(scheduler) == [("a", 3), ("b", 3)]
    assert _step(scheduler) == [("a", 1), ("b", 1)]
    scheduler.finish(first)
    assert _step(scheduler) == [("b", 1), ("c", 3)]


def test_only_a_chunk_that_reaches_the_end_is_sampled() -> None:
    sequence = Sequence(EngineRequest("a", (1, 2, 3), SamplingParams(seed=0)))
    assert not Scheduled(sequence, 2).is_sampled
    assert Scheduled(sequence, 3).is_sampled


def test_waiting_sequence_can_be_taken_out() -> None:
    scheduler = _scheduler(max_num_seqs=1)
    _add(scheduler, "a", 3)
    waiting = _add(scheduler, "b", 3)
    _step(scheduler)
    scheduler.finish(waiting)
    assert not scheduler.waiting
    scheduler.check_integrity()
