"""Made-up sequences to train on: ten classes of pattern over 516 tokens, and the best perplexity that is possible.

    python scripts/pattern_data.py --num-sequences 5000 --output-dir patterns

writes vocab.json (<pad>, <bos>, <eos>, <unk> and 512 notes, n0 to n511, on a ring) and sequences.jsonl with rows of
{"sequence": [ids], "label": 0-9}. A sequence has 50 to 70 notes. What a class fixes is how it goes on, not where it
starts, so no single note tells the class:

    0 rising by 1        1 falling by 1       2 rising by 2       3 falling by 2        4 rising by 5
    5 each note twice, rising by 1            6 two notes in turn      7 three notes in turn
    8 two steps up, one step back             9 two rising lines in turn

One note in a hundred is replaced by a random one; the pattern goes on as if it had not been.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
NUM_NOTES = 512
LENGTHS = range(50, 71)
NOISE = 0.01


def _steps(size: int) -> Callable[[random.Random], Iterator[int]]:
    def notes(rng: random.Random) -> Iterator[int]:
        note = rng.randrange(NUM_NOTES)
        while True:
            yield note
            note += size

    return notes


def _doubled(rng: random.Random) -> Iterator[int]:
    note = rng.randrange(NUM_NOTES)
    while True:
        yield note
        yield note
        note += 1


def _cycle(size: int) -> Callable[[random.Random], Iterator[int]]:
    def notes(rng: random.Random) -> Iterator[int]:
        chosen = rng.sample(range(NUM_NOTES), size)
        while True:
            yield from chosen

    return notes


def _two_up_one_back(rng: random.Random) -> Iterator[int]:
    note = rng.randrange(NUM_NOTES)
    while True:
        yield note
        yield note + 2
        note += 1


def _two_lines(rng: random.Random) -> Iterator[int]:
    first, second = rng.sample(range(NUM_NOTES), 2)
    while True:
        yield first
        yield second
        first += 1
        second += 1


# Each class, and how many notes after the first its start leaves to chance.
CLASSES: tuple[tuple[Callable[[random.Random], Iterator[int]], int], ...] = (
    (_steps(1), 0), (_steps(-1), 0), (_steps(2), 0), (_steps(-2), 0), (_steps(5), 0), (_doubled, 0), (_cycle(2), 1),
    (_cycle(3), 2), (_two_up_one_back, 0), (_two_lines, 1),
)  # fmt: skip


def sequence(label: int, rng: random.Random) -> list[int]:
    """Token ids of one example of class `label`."""
    notes = CLASSES[label][0](rng)
    ids = []
    for _ in range(rng.choice(LENGTHS)):
        note = next(notes) % NUM_NOTES
        if rng.random() < NOISE:
            note = rng.randrange(NUM_NOTES)
        ids.append(len(SPECIAL) + note)
    return ids


def entropy_rate() -> float:
    """Nats a target token that no model can do without: class, chance notes, length and noise, known only as they come.

    A sequence of L notes has L targets: its notes but the first, and the end marker.
    """
    mean_length = sum(LENGTHS) / len(LENGTHS)
    chance_notes = sum(count for _, count in CLASSES) / len(CLASSES)
    start = math.log(len(CLASSES)) + chance_notes * math.log(NUM_NOTES)
    other = NOISE * (NUM_NOTES - 1) / NUM_NOTES  # a replaced note that differs
    noise = -(1 - other) * math.log(1 - other) - other * math.log(other / (NUM_NOTES - 1))
    return (start + math.log(len(LENGTHS)) + noise * (mean_length - 1 - chance_notes)) / mean_length


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-sequences", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output-dir", type=Path, required=True)
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)  # noqa: S311 - reproducible, not secret
    chosen.output_dir.mkdir(parents=True, exist_ok=True)
    names = [*SPECIAL, *(f"n{number}" for number in range(NUM_NOTES))]
    vocab = {name: number for number, name in enumerate(names)}
    (chosen.output_dir / "vocab.json").write_text(json.dumps(vocab, indent=1) + "\n", encoding="utf-8")
    with (chosen.output_dir / "sequences.jsonl").open("w", encoding="utf-8") as file:
        for index in range(chosen.num_sequences):
            label = index % len(CLASSES)
            file.write(json.dumps({"sequence": sequence(label, rng), "label": label}) + "\n")
    floor = math.exp(entropy_rate())
    sys.stdout.write(f"{chosen.num_sequences} sequences; no model can have a perplexity below {floor:.3f}\n")


if __name__ == "__main__":
    main()
