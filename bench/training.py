"""`make bench-train`: `gpt2svc train` beside a bare transformers Trainer: same rows, same model, same optimiser.

    python -m bench.training [--steps 12] [--rounds 3] [--bf16]

The bare Trainer pads each batch to its longest row, as its documentation shows it; ours packs as many tokens a batch.
Both are counted in tokens of the rows, padding aside. Runs alternate, and the first steps of each are not timed.
"""

import argparse
import json
import logging
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WARM_UP_STEPS = 2
VOCAB_SIZE = 8192
SHAPE = {"n_layer": 4, "n_head": 4, "n_embd": 256, "n_positions": 512}
# Name, how long the rows are, and how many of them the bare Trainer takes a batch.
DATA_SETS: tuple[tuple[str, tuple[int, int], int], ...] = (
    ("short lines, 5 to 40 tokens", (5, 40), 32),
    ("paragraphs, 20 to 400 tokens", (20, 400), 8),
    ("whole windows, 511 tokens", (511, 511), 2),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bf16", action="store_true")
    chosen = parser.parse_args()
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    print(f"{'rows':32}{'bare Trainer':>16}{'gpt2svc train':>16}{'ratio':>8}   tokens/s, medians of {chosen.rounds}")
    for name, lengths, batch_size in DATA_SETS:
        rng = random.Random(1)
        rows = [_row(rng, lengths) for _ in range((chosen.steps + 1) * batch_size * 2)]
        pairs = []
        for _ in range(chosen.rounds):
            pairs.append(
                (_bare(rows, batch_size, chosen.steps, chosen.bf16), _ours(rows, batch_size, chosen.steps, chosen.bf16))
            )
        bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(mine / other for other, mine in pairs)
        print(f"{name:32}{bare:16,.0f}{ours:16,.0f}{ratio:8.2f}", flush=True)


def _row(rng: random.Random, lengths: tuple[int, int]) -> list[int]:
    return [rng.randrange(VOCAB_SIZE - 2) for _ in range(rng.randint(*lengths))]


def _ours(rows: Sequence[list[int]], batch_size: int, steps: int, bf16: bool) -> float:
    """Tokens a second."""
    from gpt2svc.training.display import SilentDisplay, StepReport
    from gpt2svc.training.run import train
    from gpt2svc.training.settings import Source, TrainingSettings

    class Clock(SilentDisplay):
        def __init__(self) -> None:
            self.times: list[float] = []

        def step(self, report: StepReport) -> None:
            self.times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vocab = {f"n{number}": number for number in range(VOCAB_SIZE - 2)}
        (folder / "vocab.json").write_text(json.dumps(vocab))
        (folder / "rows.jsonl").write_text("".join(json.dumps({"sequence": row}) + "\n" for row in rows))
        tokens_per_batch = batch_size * sum(map(len, rows)) // len(rows)
        length = min(tokens_per_batch, SHAPE["n_positions"])
        settings = TrainingSettings(
            from_scratch=True, vocab=folder / "vocab.json", validation_split=0.0, max_steps=steps, max_length=length,
            per_device_train_batch_size=max(1, round(tokens_per_batch / length)), bf16=bf16, logging_steps=1,
            save_steps=10_000, learning_rate=1e-4, device="cpu", **SHAPE,
        )  # fmt: skip
        clock = Clock()
        train(settings, (Source(folder / "rows.jsonl"),), folder / "out", clock)
        lines = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    tokens = {line["step"]: line["num_tokens"] for line in lines}
    return (tokens[steps] - tokens[WARM_UP_STEPS]) / (clock.times[-1] - clock.times[WARM_UP_STEPS - 1])


def _bare(rows: Sequence[list[int]], batch_size: int, steps: int, bf16: bool) -> float:
    """Tokens a second."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

    counts: list[int] = []
    end = VOCAB_SIZE - 2

    def collate(batch: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        ids = [torch.tensor([*item["input_ids"], end]) for item in batch]
        counts.append(sum(len(row) - 1 for row in ids))
        pad = torch.nn.utils.rnn.pad_sequence
        mask = pad([torch.ones_like(row) for row in ids], batch_first=True)
        return {
            "input_ids": pad(ids, batch_first=True, padding_value=end),
            "attention_mask": mask,
            "labels": pad(ids, batch_first=True, padding_value=-100),
        }

    config = GPT2Config(
        vocab_size=VOCAB_SIZE, bos_token_id=end, eos_token_id=end, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        **SHAPE,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        arguments = TrainingArguments(
            output_dir=name, max_steps=steps, per_device_train_batch_size=batch_size, learning_rate=1e-4, bf16=bf16,
            use_cpu=True, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
            lr_scheduler_type="cosine",
        )  # fmt: skip
        trainer = Trainer(
            GPT2LMHeadModel(config), arguments, data_collator=collate,
            train_dataset=[{"input_ids": row} for row in rows], callbacks=[Clock()],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return sum(counts[WARM_UP_STEPS:steps]) / (times[-1] - times[WARM_UP_STEPS - 1])


if __name__ == "__main__":
    main()
