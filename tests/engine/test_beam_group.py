"""Rules of a group of beams that a comparison with transformers reaches seldom or never."""

import pytest

from gpt2svc.engine.beam_group import BeamGroup, Candidate
from gpt2svc.engine.sampling_params import EarlyStopping

STOP = 9


def _group(
    num_beams: int = 2, *, length: int = 4, penalty: float = 1.0, early_stopping: EarlyStopping = False
) -> BeamGroup:
    return BeamGroup(
        num_beams, max_new_tokens=length, stop_token_ids=(STOP,), length_penalty=penalty, early_stopping=early_stopping
    )


def _candidates(*entries: tuple[float, int, int]) -> list[Candidate]:
    return [Candidate(*entry) for entry in entries]


def test_stop_token_below_the_best_is_neither_finished_nor_goes_on() -> None:
    group = _group()
    chosen = group.update(_candidates((-1.0, 0, 1), (-2.0, 0, 2), (-3.0, 0, STOP), (-4.0, 0, 3)))
    assert chosen == [1, 2]
    assert [beam.token_ids for beam in group.live] == [(1,), (2,)]
    assert group.finished == []


def test_stop_token_among_the_best_leaves_its_place_to_the_next() -> None:
    group = _group()
    group.update(_candidates((-1.0, 0, STOP), (-2.0, 0, 2), (-3.0, 0, 3), (-4.0, 0, 4)))
    assert [beam.token_ids for beam in group.live] == [(2,), (3,)]
    assert [(each.token_ids, each.score, each.finish_reason) for each in group.finished] == [((STOP,), -1.0, "stop")]
    group.update(_candidates((-2.5, 1, 5), (-2.6, 0, 6), (-2.7, 0, 7), (-2.8, 0, 8)))
    assert [(beam.token_ids, beam.parent) for beam in group.live] == [((3, 5), 1), ((2, 6), 0)]


@pytest.mark.parametrize(("early_stopping", "is_done"), [(True, True), (False, False), ("never", False)])
def test_full_group_goes_on_only_while_it_may_improve(early_stopping: EarlyStopping, is_done: bool) -> None:
    group = _group(early_stopping=early_stopping)
    group.update(_candidates((-1.0, 0, STOP), (-1.1, 0, 2), (-1.2, 0, 3), (-1.3, 0, 4)))
    group.update(_candidates((-1.15, 0, STOP), (-1.15, 0, 1), (-1.16, 1, 2), (-1.2, 1, 3)))
    assert len(group.finished) == 2
    assert group.is_done is is_done  # -1.15 / 2 is more than the worst finished, -1.0
    assert bool(group.live) is not is_done


def test_only_never_waits_for_what_the_full_length_could_bring() -> None:
    """-4 / 2 is worse than what is finished, but divided by the full length it would not be."""
    for early_stopping, is_done in ((False, True), ("never", False)):
        group = _group(length=8, early_stopping=early_stopping)  # type: ignore[arg-type]
        group.update(_candidates((-0.9, 0, STOP), (-1.0, 0, 2), (-1.2, 0, 3), (-1.3, 0, 4)))
        group.update(_candidates((-1.9, 0, STOP), (-4.0, 0, 1), (-4.1, 1, 2), (-4.2, 1, 3)))
        assert group.is_done is is_done


def test_last_step_finishes_the_best_and_leaves_none_alive() -> None:
    group = _group(length=1)
    assert group.update(_candidates((-1.0, 0, 1), (-2.0, 0, STOP), (-3.0, 0, 3), (-4.0, 0, 4))) == [1, STOP]
    assert [(each.token_ids, each.finish_reason) for each in group.finished] == [((1,), "length"), ((STOP,), "stop")]
    assert group.is_done


def test_fewer_candidates_than_beams_make_fewer_beams_and_none_ends_the_search() -> None:
    group = _group(num_beams=3)
    group.update(_candidates((-1.0, 0, 1)))
    assert [beam.token_ids for beam in group.live] == [(1,)]
    group.update([])
    assert group.is_done
    assert group.finished == []
