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
from gpt2svc.cli.train import train
from gpt2svc.errors import Gpt2svcError
from gpt2svc.training.trainer import saved_recipe

TINY = [
    *("--vocab-size", "300", "--n-layer", "1", "--n-head", "2", "--n-embd", "16", "--n-positions", "64"),
    *("--max-length", "64", "--per-device-train-batch-size", "2", "--learning-rate", "0.01", "--warmup-steps", "2"),
    *("--eval-steps", "5", "--save-steps", "5", "--logging-steps", "5"),
]


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(train)
    return CliRunner().invoke(app, list(arguments))


def test_flags_train_a_model_and_the_folder_is_printed(corpus_file: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    result = run("--from-scratch", "--data", f"{corpus_file}:2", "--output-dir", out, "--max-steps", "10", *TINY)
    assert result.exit_code == 0, result.output
    assert result.stdout == out + "\n"
    assert "step 10/10" in result.stderr
    recipe = saved_recipe(tmp_path / "out")
    assert recipe is not None
    assert recipe.sources[0].repeats == 2.0
    assert (recipe.shape.n_layer, recipe.optimisation.learning_rate) == (1, 0.01)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["n_embd"] == 16


def test_flags_win_over_the_config_file(corpus_file: Path, tmp_path: Path) -> None:
    config = tmp_path / "recipe.toml"
    config.write_text(
        f'[[sources]]\npath = "{corpus_file.name}"\n'
        "[model]\nvocab_size = 300\nn_layer = 2\nn_head = 2\nn_embd = 16\nn_positions = 64\n"
        "[training]\nmax_steps = 3\nmax_length = 32\nbf16 = true\n"
    )
    result = run("--config", str(config), "--output-dir", str(tmp_path / "out"), "--n-layer", "1", "--no-bf16")
    assert result.exit_code == 0, result.output
    recipe = saved_recipe(tmp_path / "out")
    assert recipe is not None
    assert (recipe.shape.n_layer, recipe.optimisation.bf16, recipe.optimisation.max_steps) == (1, False, 3)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--data", "missing.jsonl"], "Can't read missing.jsonl"),
        ([], "No training text"),
        (["--data", "CORPUS", "--learning-rate", "nan"], "learning_rate must be a finite number"),
        (["--data", "CORPUS", "--n-embd", "17"], "multiple of n_head"),
        (["--data", "CORPUS", "--model", "nowhere"], "nowhere"),
        (["--data", "CORPUS", "--model", "nowhere", "--from-scratch"], "exclude each other"),
        (["--data", "CORPUS", "--device", "cuda:99"], "no device 'cuda:99'"),
        (["--config", "nowhere.toml"], "Can't read the recipe"),
        (["--resume"], "no checkpoint to resume from"),
    ],
)
def test_wrong_input_ends_with_exit_code_two_and_writes_nothing(
    corpus_file: Path, tmp_path: Path, flags: list[str], complaint: str
) -> None:
    given = [str(corpus_file) if flag == "CORPUS" else flag for flag in flags]
    result = run("--output-dir", str(tmp_path / "out"), *given)
    assert isinstance(result.exception, Gpt2svcError)
    assert exit_code(result.exception) == 2
    assert complaint in result.exception.message
    assert not (tmp_path / "out").exists()


def test_bad_lines_are_listed_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "fine"}\nnonsense\n{"text": 3}\n')
    result = run("--data", str(path), "--output-dir", str(tmp_path / "out"))
    assert isinstance(result.exception, Gpt2svcError)
    lines = result.stderr.splitlines()
    assert [line.startswith(f"{path}:{number}: ") for number, line in zip((2, 3), lines, strict=True)] == [True, True]


def test_sigterm_saves_says_how_to_go_on_and_resume_may_shorten_the_run(corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = "import typer; from gpt2svc.cli.train import train; typer.run(train)"
    flags = ["--data", str(corpus_file), "--output-dir", str(out), "--max-steps", "100000", *TINY]
    with subprocess.Popen(
        [sys.executable, "-c", command, *flags], stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    ) as process:
        deadline = time.monotonic() + 60
        while not (out / "checkpoint-5").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"gpt2svc train --resume --output-dir {out}" in error
    assert "Traceback" not in error
    checkpoints = sorted(int(path.name.removeprefix("checkpoint-")) for path in out.glob("checkpoint-*"))
    result = run("--resume", "--output-dir", str(out), "--max-steps", str(checkpoints[-1] + 2))
    assert result.exit_code == 0, result.output
    assert f"Resumed from {out / f'checkpoint-{checkpoints[-1]}'}" in result.stderr.replace("\n", "")
    assert (out / f"checkpoint-{checkpoints[-1] + 2}").exists()
    recipe = saved_recipe(out)
    assert recipe is not None
    assert recipe.optimisation.max_steps == checkpoints[-1] + 2


def test_help_imports_neither_torch_nor_tokenizers() -> None:
    code = (
        "import sys, typer; from typer.testing import CliRunner; from gpt2svc.cli.train import train\n"
        "app = typer.Typer(); app.command()(train)\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert not {'torch', 'transformers', 'tokenizers', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
