"""One seed a sequence, so that each of several choices can be made again alone."""

from collections.abc import Sequence

from gpt2svc.generation.drawn_seed import drawn_seed
from gpt2svc.generation.settings import MAX_SEED

_STEP = 0x9E3779B97F4A7C15  # odd, so that the seeds of any number of choices differ


def seeds_of(seed: int | None, num_prompts: int, num_choices: int) -> Sequence[int]:
    """Seeds of all sequences, prompt by prompt.

    With a `seed`, the first choice of each prompt has just that one: the same prompt with the same seed gives the same
    text, wherever in a batch it stands. Without one, each sequence draws its own.
    """
    if seed is None:
        return [drawn_seed() for _ in range(num_prompts * num_choices)]
    return [(seed + choice * _STEP) % (MAX_SEED + 1) for choice in range(num_choices)] * num_prompts
