"""What leaks is told from what only goes up and down, in the numbers that a real soak has."""

import math
import random
import subprocess
import sys

import pytest
from bench.flatness import Series, slope
from bench.processes import process_state

# Five minutes, less the first, with 40 answers a second.
NUM_SAMPLES, ANSWERS_A_SAMPLE = 240, 40

# Answers each line with a line, and keeps so many bytes of it.
LEAKING_PROGRAM = """
import sys
kept = []
for line in sys.stdin:
    kept.append(bytes({num_bytes}))
    bytes(50_000)
    print(flush=True)
"""


def _growth(name: str, leak: float, *, noise: float = 0.0, num_samples: int = NUM_SAMPLES) -> list[str]:
    """`leak` an answer, on a level of 200 with noise, a saw's teeth and a few peaks."""
    rng, series = random.Random(0), Series()
    for i in range(num_samples):
        num_answers = i * ANSWERS_A_SAMPLE
        peak = 10 * noise if rng.random() < 0.05 else 0.0
        teeth = noise * math.sin(i / 5)
        series.note(num_answers, {name: 200 + leak * num_answers + rng.uniform(-noise, noise) + teeth + peak})
    return series.growth()


def test_a_leak_of_one_kilobyte_an_answer_shows_within_five_minutes_of_noise() -> None:
    assert _growth("api rss_mb", 0.001, noise=1.5) != []
    assert _growth("api rss_mb", 0.0, noise=1.5) == []


def test_a_leak_of_a_quarter_of_that_shows_within_an_hour() -> None:
    assert _growth("api rss_mb", 0.00025, noise=1.5, num_samples=3000) != []
    assert _growth("api rss_mb", 0.0, noise=1.5, num_samples=3000) == []


@pytest.mark.parametrize("name", ["api fds", "worker threads", "api tasks"])
def test_a_handle_a_thread_or_a_task_that_stays_every_two_hundred_answers_shows(name: str) -> None:
    assert _growth(name, 1 / 200, noise=4) != []
    assert _growth(name, 0.0, noise=4) == []


def test_files_of_the_store_that_keep_a_kilobyte_an_answer_show() -> None:
    assert _growth("database_mb", 0.001, noise=0.5) != []
    assert _growth("log_mb", 0.001, noise=0.5) != []
    assert _growth("log_mb", 0.0, noise=2) == []


def test_what_has_grown_is_named_with_how_much() -> None:
    (line,) = _growth("api rss_mb", 0.001)
    assert line.startswith("api rss_mb grew by 9.56 over 9560 answers")


def test_the_slope_is_that_of_the_answers_not_of_the_time() -> None:
    # Twice as many answers a second in the second half: the same leak an answer.
    places = [*range(0, 1000, 10), *range(1000, 3000, 20)]
    assert slope(places, [0.5 * place for place in places]) == pytest.approx(0.5)
    assert slope([5, 5], [1.0, 2.0]) == 0.0


def test_too_few_measures_are_not_called_flat() -> None:
    series = Series()
    series.note(0, {"api fds": 1.0})
    assert series.growth() != []


@pytest.mark.parametrize(("num_bytes", "is_flat"), [(1000, False), (0, True)])
def test_a_process_that_leaks_a_kilobyte_an_answer_is_found_by_its_memory(num_bytes: int, is_flat: bool) -> None:
    program = [sys.executable, "-c", LEAKING_PROGRAM.format(num_bytes=num_bytes)]
    series = Series()
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for num_answers in range(8_000):
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            if num_answers % 100 == 0 and num_answers >= 1_000:  # it is warm
                series.note(num_answers, {"api rss_mb": process_state(process.pid).rss_bytes / 1e6})
    assert (series.growth() == []) == is_flat
