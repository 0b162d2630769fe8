"""Whether measures of a process under steady load stay flat, or grow with what it has answered.

Growth is told from noise by Theil and Sen's slope (the median of the slopes between all pairs of points) over medians
of bins, against the number of answers: neither peaks nor a change of pace count, a leak of so much an answer does.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

NUM_BINS: Final = 12


@dataclass(frozen=True, slots=True)
class Limit:
    """Growth that still counts as flat: so much over all, and so much for each answer."""

    fixed: float
    per_answer: float = 0.0


# Memory, MB: a leak of 1 kB an answer shows within some 4,000 answers, one of 250 bytes within some 30,000.
# Handles, threads, tasks: as many as there is in progress, which changes; what stays shows when everybody has left.
# MB of files: the database's log is moved into it when nobody reads, so that it goes up and down by some MB.
LIMITS: Final[Mapping[str, Limit]] = {
    "rss_mb": Limit(3.5, 0.0001),
    "database_mb": Limit(2.0, 0.0001),
    "log_mb": Limit(8.0),
    "fds": Limit(20.0),
    "threads": Limit(8.0),
    "tasks": Limit(20.0),
}


class Series:
    """Measures of the same things, one time after another, each with how many answers there had been."""

    def __init__(self) -> None:
        self.num_answers: list[int] = []
        self.values: dict[str, list[float]] = {}

    def note(self, num_answers: int, found: Mapping[str, float]) -> None:
        """The same names each time; the last word of a name is one of LIMITS."""
        self.num_answers.append(num_answers)
        for name, value in found.items():
            self.values.setdefault(name, []).append(value)

    def growth(self) -> list[str]:
        """What is not flat, in words."""
        if len(self.num_answers) < 2:
            return ["There are too few measures to judge."]
        num_answers = self.num_answers[-1] - self.num_answers[0]
        found = []
        for name, values in self.values.items():
            limit = LIMITS[name.split()[-1]]
            grown, allowed = num_answers * slope(self.num_answers, values), limit.fixed + num_answers * limit.per_answer
            if grown > allowed:
                found.append(
                    f"{name} grew by {grown:.4g} over {num_answers} answers, where {allowed:.4g} count as flat"
                )
        return found


def slope(places: list[int], values: list[float]) -> float:
    """Of `values` over `places`; 0 where all places are the same."""
    points = list(zip(_bin_medians(list(map(float, places))), _bin_medians(values), strict=True))
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] != a[0]]
    return statistics.median(slopes) if slopes else 0.0


def _bin_medians(values: list[float]) -> list[float]:
    num_bins = min(NUM_BINS, len(values))
    bounds = [i * len(values) // num_bins for i in range(num_bins + 1)]
    return [statistics.median(values[start:end]) for start, end in pairwise(bounds)]
