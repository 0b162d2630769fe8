import logging

import pytest

from gpt2svc.models.graph_runner import GraphRunner
from tests.fakes.graph_recorder import GraphRecorder


def _nothing() -> None:
    return None


def test_first_run_warms_up_second_records_and_later_ones_replay() -> None:
    recorder = GraphRecorder()
    runner = GraphRunner(recorder)
    for _ in range(4):
        runner.run("a", _nothing)
    assert recorder.events == ["warm up", "record", "replay", "replay", "replay"]
    runner.run("b", _nothing)
    assert recorder.events[5:] == ["warm up"]


def test_without_a_recorder_the_function_runs_each_time() -> None:
    runner, runs = GraphRunner(None), []
    for i in range(3):
        runner.run("a", lambda i=i: runs.append(i))  # type: ignore[misc]
    runner.clear()
    assert runs == [0, 1, 2]


def test_failing_record_is_logged_once_and_the_function_runs_on(caplog: pytest.LogCaptureFixture) -> None:
    recorder = GraphRecorder(is_failing=True)
    runner, runs = GraphRunner(recorder), []
    with caplog.at_level(logging.WARNING):
        for i in range(4):
            for key in ("a", "b"):
                runner.run(key, lambda i=i, key=key: runs.append((i, key)))  # type: ignore[misc]
    assert runs == [(i, key) for i in range(4) for key in ("a", "b")]
    assert [record.message for record in caplog.records] == [
        "A CUDA graph could not be captured: decoding goes on without graphs"
    ]
    assert recorder.events == ["warm up", "warm up", "record", "release"]


def test_cleared_recordings_are_made_again_and_what_they_shared_is_released() -> None:
    recorder = GraphRecorder()
    runner = GraphRunner(recorder)
    runner.run("a", _nothing)
    runner.run("a", _nothing)
    runner.clear()
    runner.run("a", _nothing)
    assert recorder.events == ["warm up", "record", "replay", "release", "warm up"]


def test_failing_warm_up_is_the_steps_failure_and_comes_again_as_a_warm_up() -> None:
    recorder = GraphRecorder()
    runner = GraphRunner(recorder)

    def fail() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        runner.run("a", fail)
    runner.run("a", _nothing)
    assert recorder.events == ["warm up", "warm up"]
