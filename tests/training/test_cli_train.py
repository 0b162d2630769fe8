"""`gpt2svc train` from its flags to its exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from gpt2svc.cli.errors import exit_code
from gpt2svc.cli.train import train_command
from gpt2svc.errors import Gpt2svcError
from gpt2svc.training.run_files import saved_run
from tests.training.conftest import assert_same_weights

TINY = [
    *("--vocab-size", "300", "--n-layer", "1", "--n-head", "2", "--n-embd", "16", "--n-positions", "64"),
    *("--per-device-train-batch-size", "2", "--learning-rate", "0.01", "--warmup-steps", "2"),
    *("--eval-steps", "5", "--save-steps", "5", "--logging-steps", "5", "--device", "cpu"),
]
COMMAND = "import sys; from gpt2svc.cli.main import main; main()"


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(train_command())
    return CliRunner().invoke(app, list(arguments))


def test_flags_train_a_model_and_its_folder_is_printed(corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("--from-scratch", "--data", f"{corpus_file}:2", "--output-dir", str(out), "--max-steps", "10", *TINY)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out / 'best_model'}\n"
    last = next(line for line in result.stderr.splitlines() if line.startswith("step 10/10  loss "))
    assert " tok/s  0:00 left" in last
    assert f"gpt2svc serve --model {out / 'best_model'}" in result.stderr
    settings, sources = saved_run(out)
    assert sources[0].repeats == 2.0
    assert (settings.n_layer, settings.learning_rate) == (1, 0.01)
    assert json.loads((out / "best_model" / "config.json").read_text())["n_embd"] == 16


def test_flags_win_over_the_config_file(corpus_file: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data: {corpus_file.name}\nfrom_scratch: true\nvocab_size: 300\nn_layer: 2\nn_head: 2\nn_embd: 16\n"
        "n_positions: 64\nmax_steps: 3\nmax_length: 32\nbf16: true\n"
    )
    result = run("--config", str(config), "--output-dir", str(tmp_path / "out"), "--n-layer", "1", "--no-bf16")
    assert result.exit_code == 0, result.output
    settings, _ = saved_run(tmp_path / "out")
    assert (settings.n_layer, settings.bf16, settings.max_steps) == (1, False, 3)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--from-scratch", "--data", "missing.jsonl"], "Can't read missing.jsonl"),
        (["--from-scratch"], "No training data"),
        (["--data", "CORPUS"], "either --model NAME, to fine-tune it, or --from-scratch"),
        (["--from-scratch", "--data", "CORPUS", "--learning-rate", "nan"], "--learning-rate must be a finite number"),
        (["--from-scratch", "--data", "CORPUS", "--n-embd", "17"], "multiple of --n-head"),
        (["--data", "CORPUS", "--model", "./nowhere"], "./nowhere is no model folder"),
        (["--data", "CORPUS", "--model", "someone/else"], "gpt2svc models pull someone/else"),
        (["--data", "CORPUS", "--model", "starter", "--from-scratch"], "either --model"),
        (["--data", "CORPUS", "--model", "starter", "--n-layer", "3"], "--n-layer belongs to --from-scratch"),
        (["--data", "CORPUS", "--model", "starter", "--max-length", "2000"], "n_positions (1024)"),
        (["--from-scratch", "--data", "CORPUS", "--vocab", "no.json"], "Can't read the vocabulary no.json"),
        (["--from-scratch", "--data", "CORPUS", "--device", "cuda:99"], "no device 'cuda:99'"),
        (["--config", "nowhere.toml"], "Can't read the configuration"),
        (["--resume"], "no run to resume"),
    ],
)
def test_wrong_input_ends_with_exit_code_two_and_writes_nothing(
    corpus_file: Path, tmp_path: Path, flags: list[str], complaint: str
) -> None:
    given = [str(corpus_file) if flag == "CORPUS" else flag for flag in flags]
    result = run("--output-dir", str(tmp_path / "out"), *given)
    assert isinstance(result.exception, Gpt2svcError), result.output
    assert exit_code(result.exception) == 2
    assert complaint in result.exception.message
    assert not (tmp_path / "out").exists()


def test_bad_lines_are_listed_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "fine"}\nnonsense\n{"text": 3}\n')
    result = run("--from-scratch", "--data", str(path), "--output-dir", str(tmp_path / "out"))
    assert isinstance(result.exception, Gpt2svcError)
    lines = result.stderr.splitlines()
    assert [line.startswith(f"{path}:{number}: ") for number, line in zip((2, 3), lines, strict=True)] == [True, True]


def start(*flags: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", COMMAND, "train", *flags]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 100
    while not path.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)


def test_sigterm_saves_and_says_how_to_go_on_and_resume_may_shorten_the_run(corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = ["--from-scratch", "--data", str(corpus_file), "--output-dir", str(out), "--max-steps", "10000", *TINY]
    with start(*flags) as process:
        wait_for(out / "checkpoint-5", process)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"gpt2svc train --resume --output-dir {out}" in error
    assert "Traceback" not in error
    last = max(int(path.name.removeprefix("checkpoint-")) for path in out.glob("checkpoint-*"))
    result = run("--resume", "--output-dir", str(out), "--max-steps", str(last + 2))
    assert result.exit_code == 0, result.output
    assert f"Resumed from {out / f'checkpoint-{last}'}" in result.stderr.replace("\n", "")
    assert (out / f"checkpoint-{last + 2}").exists()
    assert saved_run(out)[0].max_steps == last + 2


@pytest.mark.slow
@pytest.mark.timeout(300)  # three processes import torch, on what may be a busy machine
def test_after_a_kill_at_any_step_the_resumed_run_ends_with_the_same_weights(corpus_file: Path, tmp_path: Path) -> None:
    common = ["--from-scratch", "--data", str(corpus_file), "--max-steps", "20", "--dropout", "0.1", *TINY]
    with start(*common, "--output-dir", str(tmp_path / "whole")) as process:
        process.communicate(timeout=280)
    out = tmp_path / "killed"
    with start(*common, "--output-dir", str(out)) as process:
        wait_for(out / "checkpoint-5", process)
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    with start("--resume", "--output-dir", str(out)) as process:
        _, error = process.communicate(timeout=280)
    assert process.returncode == 0, error
    for name in ("final_model", "best_model"):
        assert_same_weights(tmp_path / "whole" / name, out / name)


def test_help_imports_neither_torch_nor_tokenizers() -> None:
    code = (
        "import sys, typer; from typer.testing import CliRunner; from gpt2svc.cli.train import train_command\n"
        "app = typer.Typer(); app.command()(train_command())\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert not {'torch', 'transformers', 'tokenizers', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
