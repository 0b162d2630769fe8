"""Several processes, as torchrun starts them, on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.display import SilentDisplay
from gpt2svc.training.run import train
from gpt2svc.training.run_files import saved_run
from tests.training.conftest import assert_same_weights, losses

FLAGS = [
    *("--from-scratch", "--vocab-size", "300", "--n-layer", "1", "--n-head", "2", "--n-embd", "16"),
    *("--n-positions", "64", "--max-steps", "6", "--learning-rate", "0.01", "--per-device-train-batch-size", "2"),
    *("--eval-steps", "3", "--save-steps", "3", "--logging-steps", "1", "--device", "cpu"),
]
MODULE = ["-m", "gpt2svc.training"]


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
@pytest.mark.timeout(300)  # four processes import torch, on what may be a busy machine
def test_two_processes_do_what_one_does_with_twice_the_accumulation(corpus_file: Path, tmp_path: Path) -> None:
    flags = [*FLAGS, "--data", str(corpus_file)]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    both = run(*launcher, *MODULE, *flags, "--output-dir", str(tmp_path / "both"))
    assert both.returncode == 0, both.stderr
    assert both.stderr.count("step 6/6") == 1
    alone = run(*MODULE, *flags, "--gradient-accumulation-steps", "2", "--output-dir", str(tmp_path / "alone"))
    assert alone.returncode == 0, alone.stderr
    assert dict(losses(tmp_path / "both")) == pytest.approx(dict(losses(tmp_path / "alone")))
    for name in ("final_model", "best_model"):
        assert_same_weights(tmp_path / "both" / name, tmp_path / "alone" / name)
    # Each of the two has a random state of its own in a checkpoint: one process can't go on exactly.
    with pytest.raises(InvalidInputError, match="processes = 2, now it is 1"):
        train(*saved_run(tmp_path / "both"), tmp_path / "both", SilentDisplay(), resume=True)


def test_wrong_input_is_one_line_and_exit_code_two(corpus_file: Path, tmp_path: Path) -> None:
    ended = run(*MODULE, "--data", str(corpus_file), "--output-dir", str(tmp_path / "out"))
    assert ended.returncode == 2
    assert ended.stderr.startswith("Error: Say what to train")
    assert ended.stderr.count("\n") == 1
