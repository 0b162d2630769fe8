"""Made-up sequences to train on: ten classes of pattern over 516 tokens, and what an ideal model would reach.

    python -m scripts.pattern_data --num-sequences 5000 --output-dir patterns

writes vocab.json (<pad>, <bos>, <eos>, <unk> and 512 notes, n0 to n511, on a ring) and sequences.jsonl with rows of
{"sequence": [ids], "label": 0-9}. A sequence has 50 to 70 notes and starts anywhere, so no single note tells its class:

    0 rising by 1      1 falling by 1      2 rising by 2      3 falling by 2
    4 each note twice, rising by 1         5 two notes, any two, in turn
    6 to 9 a melody of 8 to 16 notes over and over: each class has eight of its own, always the same

To go on, a model has to tell from two or three notes what it is in, count on the ring, copy, and know 32 melodies by
heart. One note in two hundred is replaced by a random one; the pattern goes on as if it had not been.
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
NUM_MELODIES = 8
LENGTHS = range(50, 71)
NOISE = 0.005

Notes = Callable[[random.Random], Iterator[int]]


def _steps(size: int) -> Notes:
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


def _two_in_turn(rng: random.Random) -> Iterator[int]:
    chosen = rng.sample(range(NUM_NOTES), 2)
    while True:
        yield from chosen


def _melodies(label: int) -> Notes:
    known = random.Random(f"melodies of class {label}")  # noqa: S311 - the same in every set of data
    melodies = [known.sample(range(NUM_NOTES), known.randint(8, 16)) for _ in range(NUM_MELODIES)]

    def notes(rng: random.Random) -> Iterator[int]:
        melody = rng.choice(melodies)
        place = rng.randrange(len(melody))
        while True:
            yield melody[place % len(melody)]
            place += 1

    return notes


CLASSES: tuple[Notes, ...] = (
    *map(_steps, (1, -1, 2, -2)),
    _doubled,
    _two_in_turn,
    *map(_melodies, range(6, 10)),
)


def sequence(label: int, rng: random.Random) -> list[int]:
    """Token ids of one example of class `label`."""
    notes = CLASSES[label](rng)
    ids = []
    for _ in range(rng.choice(LENGTHS)):
        note = next(notes) % NUM_NOTES
        if rng.random() < NOISE:
            note = rng.randrange(NUM_NOTES)
        ids.append(len(SPECIAL) + note)
    return ids


def entropy_rate() -> float:
    """About how many nats a target token no model can do without: class, free notes, length and noise.

    A sequence of L notes has L targets: its notes but the first, and the end marker. Class 5 has one more note that is
    free; that a note often tells which melody it is in is left out.
    """
    mean_length = sum(LENGTHS) / len(LENGTHS)
    start = math.log(len(CLASSES)) + math.log(NUM_NOTES) / len(CLASSES)
    other = NOISE * (NUM_NOTES - 1) / NUM_NOTES  # a replaced note that differs
    noise = -(1 - other) * math.log(1 - other) - other * math.log(other / (NUM_NOTES - 1))
    return (start + math.log(len(LENGTHS)) + noise * (mean_length - 1)) / mean_length


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
    sys.stdout.write(f"{chosen.num_sequences} sequences; an ideal model has a perplexity of about {floor:.2f}\n")


if __name__ == "__main__":
    main()
