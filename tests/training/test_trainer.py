import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gpt2svc.errors import InvalidInputError, StorageFullError
from gpt2svc.training.checkpoint import checkpoint_folders
from gpt2svc.training.display import SilentDisplay
from gpt2svc.training.documents import CorpusError
from gpt2svc.training.recipe import Recipe, Source
from gpt2svc.training.trainer import saved_recipe, train
from tests.training.conftest import chat_row, write_rows


class StoppingDisplay(SilentDisplay):
    """Sends this process a signal after a step, as Ctrl-C or a supervisor would."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        self._step = step
        self._number = number

    def step(self, step: int, loss: float, tokens_per_second: float) -> None:
        if step == self._step:
            os.kill(os.getpid(), self._number)


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_weights(first: Path, second: Path) -> None:
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def trained(recipe: Recipe, tmp_path: Path) -> Path:
    train(recipe, tmp_path / "out", SilentDisplay())
    return tmp_path / "out"


def test_training_lowers_the_loss_and_logs_it(trained: Path) -> None:
    losses = [record["loss"] for record in records(trained) if "loss" in record]
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 0.5


def test_the_output_folder_loads_in_transformers_with_the_same_logits(trained: Path) -> None:
    from transformers import AutoTokenizer, GenerationConfig, GPT2LMHeadModel

    from gpt2svc.training.model_files import read_shape, read_weights
    from gpt2svc.training.network import TrainableGpt2

    theirs = GPT2LMHeadModel.from_pretrained(trained).eval()
    ours = TrainableGpt2(read_shape(trained)).eval()
    read_weights(trained, ours)
    ids = AutoTokenizer.from_pretrained(trained)("User: Привіт! 👋\nAssistant:", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = theirs(ids).logits[0]
        found = ours(ids[0], torch.arange(ids.shape[1]), [ids.shape[1]])
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    assert GenerationConfig.from_pretrained(trained).eos_token_id == theirs.config.eos_token_id == 0


def test_the_model_in_the_output_folder_is_the_best_by_validation_loss(recipe: Recipe, tmp_path: Path) -> None:
    # A learning rate at which the loss rises after the first evaluation.
    wild = replace(recipe, optimisation=replace(recipe.optimisation, learning_rate=3.0, warmup_steps=8, max_steps=12))
    outcome = train(wild, tmp_path / "out", SilentDisplay())
    measured = {record["step"]: record["eval_loss"] for record in records(tmp_path / "out") if "eval_loss" in record}
    best = min(measured, key=measured.__getitem__)
    assert best != 12
    assert outcome.progress.best_step == best
    assert outcome.progress.best_loss == pytest.approx(measured[best], abs=1e-5)
    assert not torch.equal(
        weights(tmp_path / "out")["transformer.ln_f.weight"],
        weights(tmp_path / "out" / "checkpoint-12")["transformer.ln_f.weight"],
    )


def test_only_the_newest_checkpoints_are_kept_and_nothing_temporary_is_left(trained: Path) -> None:
    assert [folder.name for folder in checkpoint_folders(trained)] == ["checkpoint-8", "checkpoint-12"]
    assert not list(trained.glob("**/.writing-*"))
    assert not list(trained.glob("**/*.bin")) + list(trained.glob("**/*.pt"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_and_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    recipe: Recipe, tmp_path: Path, number: signal.Signals
) -> None:
    # Dropout draws from the random state, accumulation crosses epochs, bf16 is what the recipes use.
    recipe = replace(
        recipe,
        shape=replace(recipe.shape, dropout=0.1),
        optimisation=replace(recipe.optimisation, bf16=True, gradient_accumulation_steps=8),
    )
    whole = train(recipe, tmp_path / "whole", SilentDisplay())
    stopped = train(recipe, tmp_path / "parts", StoppingDisplay(5, number))
    assert (stopped.signal_number, stopped.progress.step) == (number, 5)
    assert whole.progress.epoch > stopped.progress.epoch
    resumed = train(recipe, tmp_path / "parts", SilentDisplay(), is_resumed=True)
    assert resumed.progress.step == 12
    assert_same_weights(tmp_path / "whole" / "checkpoint-12", tmp_path / "parts" / "checkpoint-12")
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")

    def losses(name: str) -> list[float]:
        return [record["loss"] for record in records(tmp_path / name) if "loss" in record]

    assert losses("whole") == losses("parts")


def test_signal_handlers_are_put_back_after_training(recipe: Recipe, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    train(recipe, tmp_path / "out", StoppingDisplay(1, signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) is before


def test_resuming_with_another_recipe_or_other_text_is_refused_by_name(
    recipe: Recipe, corpus_file: Path, tmp_path: Path
) -> None:
    train(recipe, tmp_path / "out", StoppingDisplay(2, signal.SIGTERM))
    other = replace(recipe, optimisation=replace(recipe.optimisation, learning_rate=1e-4))
    with pytest.raises(InvalidInputError, match=r"optimisation\.learning_rate = 0\.01, now it is 0\.0001"):
        train(other, tmp_path / "out", SilentDisplay(), is_resumed=True)
    with corpus_file.open("a") as file:
        file.write(json.dumps({"text": "one more"}) + "\n")
    with pytest.raises(InvalidInputError, match="digests"):
        train(recipe, tmp_path / "out", SilentDisplay(), is_resumed=True)


def test_the_recipe_is_saved_with_the_run(recipe: Recipe, trained: Path) -> None:
    assert saved_recipe(trained) == recipe


def test_a_broken_checkpoint_is_an_error_that_names_it(recipe: Recipe, trained: Path) -> None:
    (trained / "checkpoint-12" / "optimizer.safetensors").write_bytes(b"broken")
    with pytest.raises(InvalidInputError, match="checkpoint-12"):
        train(recipe, trained, SilentDisplay(), is_resumed=True)


def test_a_used_folder_is_not_overwritten_and_an_empty_one_not_resumed(recipe: Recipe, trained: Path) -> None:
    with pytest.raises(InvalidInputError, match="already holds a model"):
        train(recipe, trained, SilentDisplay())
    with pytest.raises(InvalidInputError, match="no checkpoint to resume"):
        train(recipe, trained.parent / "new", SilentDisplay(), is_resumed=True)


def test_bad_text_or_settings_write_nothing(recipe: Recipe, tmp_path: Path) -> None:
    bad = write_rows(tmp_path / "bad.jsonl", ["nonsense"])
    with pytest.raises(CorpusError):
        train(replace(recipe, sources=(Source(bad),)), tmp_path / "out", SilentDisplay())
    for change in ({"learning_rate": float("nan")}, {"max_length": 65}, {"max_steps": -1}, {"max_grad_norm": 0.0}):
        wrong = replace(recipe, optimisation=replace(recipe.optimisation, **change))
        with pytest.raises(InvalidInputError, match=next(iter(change))):
            train(wrong, tmp_path / "out", SilentDisplay())
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_a_number_stops_the_run_and_says_what_to_do(recipe: Recipe, tmp_path: Path) -> None:
    hot = replace(
        recipe, optimisation=replace(recipe.optimisation, learning_rate=1e30, max_grad_norm=1e30, warmup_steps=0)
    )
    with pytest.raises(InvalidInputError, match="Lower learning_rate"):
        train(hot, tmp_path / "out", SilentDisplay())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_and_leaves_nothing_half_written(recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".writing-model.safetensors").symlink_to("/dev/full")
    with pytest.raises(StorageFullError, match=r"disk is full: .*model\.safetensors") as caught:
        train(recipe, out, SilentDisplay())
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert not (out / "model.safetensors").exists()
    assert not list(out.glob(".writing-*"))


def test_one_row_is_enough_to_train_on(tmp_path: Path, recipe: Recipe) -> None:
    path = write_rows(tmp_path / "one.jsonl", [chat_row("Hi", "Hello")])
    outcome = train(replace(recipe, sources=(Source(path),)), tmp_path / "out", SilentDisplay())
    assert outcome.progress.step == 12
    assert outcome.progress.best_loss is None
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_epochs_decide_the_number_of_steps_where_max_steps_does_not(recipe: Recipe, tmp_path: Path) -> None:
    settings = replace(recipe.optimisation, max_steps=0, num_train_epochs=2.0, join_share=0.0)
    outcome = train(replace(recipe, optimisation=settings), tmp_path / "out", SilentDisplay())
    assert outcome.progress.step == outcome.num_steps > 2
    assert outcome.progress.epoch == 1


def test_fine_tuning_keeps_vocabulary_and_shape_and_starts_from_the_weights(
    recipe: Recipe, trained: Path, tmp_path: Path
) -> None:
    settings = replace(recipe.optimisation, max_steps=1, learning_rate=1e-9)
    tuned = replace(recipe, initial_model=trained, optimisation=settings)
    train(tuned, tmp_path / "tuned", SilentDisplay())
    assert (tmp_path / "tuned" / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()
    before, after = weights(trained), weights(tmp_path / "tuned")
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_a_model_of_another_kind_is_refused(recipe: Recipe, trained: Path, tmp_path: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    (trained / "config.json").write_text(json.dumps(config | {"activation_function": "relu"}))
    with pytest.raises(InvalidInputError, match="activation_function is 'relu'"):
        train(replace(recipe, initial_model=trained), tmp_path / "tuned", SilentDisplay())
