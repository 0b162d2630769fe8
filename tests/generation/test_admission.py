"""Bounds are reserved at once, given back once, and a refusal says when to come back."""

import pytest

from gpt2svc.errors import OverloadedError
from gpt2svc.generation.admission import Admission


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_exactly_as_many_requests_as_the_bound_are_admitted() -> None:
    admission = Admission(max_requests=16, max_tokens=10_000)
    permits = []
    for _ in range(1000):
        try:
            permits.append(admission.reserve(10))
        except OverloadedError:
            continue
    assert len(permits) == admission.num_requests == 16
    assert admission.num_tokens == 160


def test_tokens_are_bounded_together() -> None:
    admission = Admission(max_requests=16, max_tokens=100)
    admission.reserve(60)
    with pytest.raises(OverloadedError):
        admission.reserve(41)
    admission.reserve(40)


def test_places_are_reserved_for_each_or_for_none() -> None:
    admission = Admission(max_requests=3, max_tokens=10_000)
    permits = admission.reserve_each([10, 20])
    assert [permit.num_tokens for permit in permits] == [10, 20]
    with pytest.raises(OverloadedError):
        admission.reserve_each([1, 2])
    assert (admission.num_requests, admission.num_tokens) == (2, 30)


def test_a_request_over_the_bound_runs_alone() -> None:
    admission = Admission(max_requests=16, max_tokens=100)
    permit = admission.reserve(1000)
    with pytest.raises(OverloadedError):
        admission.reserve(1)
    permit.release()
    assert admission.num_tokens == 0


def test_releasing_twice_gives_back_once() -> None:
    admission = Admission(max_requests=2, max_tokens=100)
    first, _second = admission.reserve(10), admission.reserve(10)
    first.release()
    first.release()
    assert first.is_released
    assert (admission.num_requests, admission.num_tokens) == (1, 10)


def test_resize_shrinks_always_and_grows_only_within_the_bound() -> None:
    admission = Admission(max_requests=2, max_tokens=100)
    permit = admission.reserve(50)
    permit.resize(20)
    assert admission.num_tokens == 20
    permit.resize(100)
    other = Admission(max_requests=2, max_tokens=100)
    other.reserve(60)
    small = other.reserve(20)
    with pytest.raises(OverloadedError):
        small.resize(60)
    assert other.num_tokens == 80
    small.release()
    small.resize(90)
    assert other.num_tokens == 60


def test_retry_after_follows_the_backlog_and_the_measured_speed() -> None:
    clock = Seconds()
    admission = Admission(max_requests=1, max_tokens=10_000, clock=clock)
    permit = admission.reserve(400)
    with pytest.raises(OverloadedError) as unmeasured:
        admission.reserve(400)
    assert unmeasured.value.retry_after_s == 400 / 50
    clock.now += 2
    admission.record_tokens(400)
    assert admission.tokens_per_second == 200
    with pytest.raises(OverloadedError) as measured:
        admission.reserve(400)
    assert measured.value.retry_after_s == 2

    # Idle time is not slowness.
    permit.release()
    clock.now += 1000
    admission.reserve(400)
    clock.now += 1
    admission.record_tokens(200)
    assert admission.tokens_per_second == 200


def test_retry_after_is_within_sensible_limits() -> None:
    fast, slow = Admission(1, 100), Admission(1, 10**9)
    fast.reserve(1)
    slow.reserve(10**8)
    for admission, expected in ((fast, 1.0), (slow, 120.0)):
        with pytest.raises(OverloadedError) as refusal:
            admission.reserve(1)
        assert refusal.value.retry_after_s == expected


def test_one_key_takes_its_share_and_leaves_the_rest_to_others() -> None:
    reasons: list[str] = []
    admission = Admission(max_requests=8, max_tokens=1000, max_owner_share=0.5, on_reject=reasons.append)
    permits = [admission.reserve(10, "key_greedy") for _ in range(4)]
    with pytest.raises(OverloadedError, match="This API key already has 4"):
        admission.reserve(10, "key_greedy")
    for owner in ("key_polite", "key_polite", "", ""):
        admission.reserve(10, owner)
    with pytest.raises(OverloadedError, match="The service already works on 8"):
        admission.reserve(10, "key_other")
    assert reasons == ["key_requests", "requests"]
    permits[0].release()
    admission.reserve(10, "key_greedy")


def test_one_key_takes_its_share_of_tokens() -> None:
    reasons: list[str] = []
    admission = Admission(max_requests=8, max_tokens=1000, max_owner_share=0.5, on_reject=reasons.append)
    permit = admission.reserve(400, "key_greedy")
    with pytest.raises(OverloadedError, match="more than the 500 that one key may have"):
        admission.reserve(101, "key_greedy")
    permit.resize(600)  # a reply that alone needs more counts as the bound
    with pytest.raises(OverloadedError):
        admission.reserve(1, "key_greedy")
    admission.reserve(500, "key_polite")
    with pytest.raises(OverloadedError, match="that the service takes on"):
        admission.reserve(101)
    assert reasons == ["key_tokens", "key_tokens", "tokens"]


def test_limits_tell_what_a_reservation_would_meet() -> None:
    admission = Admission(max_requests=8, max_tokens=1000, max_owner_share=0.5)
    permits = [admission.reserve(100, "key_a"), admission.reserve(50, "")]
    mine, others = admission.limits("key_a"), admission.limits("key_b")
    assert (mine.max_requests, mine.num_free_requests) == (4, 3)
    assert (mine.max_tokens, mine.num_free_tokens) == (500, 400)
    assert (others.num_free_requests, others.num_free_tokens) == (4, 500)
    assert (admission.limits("").max_requests, admission.limits("").num_free_requests) == (8, 6)
    assert mine.reset_s == 150 / 50
    for permit in permits:
        permit.release()
    assert admission.limits("key_a").num_free_requests == 4
    assert admission.limits("key_a").reset_s == 0
    assert admission._by_owner == {}  # nothing is kept of whoever has gone
