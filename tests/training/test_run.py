import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gpt2svc.errors import InvalidInputError, StorageFullError
from gpt2svc.models.folder import ModelFolder
from gpt2svc.training.checkpoints import checkpoint_folders
from gpt2svc.training.display import SilentDisplay, StepReport
from gpt2svc.training.documents import CorpusError
from gpt2svc.training.run import train
from gpt2svc.training.run_files import check_space, saved_run
from gpt2svc.training.settings import Source, TrainingSettings, with_defaults
from tests.training.conftest import TINY, assert_same_weights, chat_row, losses, records, write_rows

Sources = tuple[Source, ...]


class StoppingDisplay(SilentDisplay):
    """Sends this process a signal after a step, as Ctrl-C or a supervisor would."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        self._step = step
        self._number = number

    def step(self, report: StepReport) -> None:
        if report.step == self._step:
            os.kill(os.getpid(), self._number)


@pytest.fixture
def trained(sources: Sources, tmp_path: Path) -> Path:
    train(TINY, sources, tmp_path / "out", SilentDisplay())
    return tmp_path / "out"


def test_a_run_leaves_models_measures_a_picture_and_only_the_newest_checkpoints(trained: Path) -> None:
    logged = losses(trained)
    assert [step for step, _ in logged] == [1, 2, 4, 6, 8, 10, 12]
    assert logged[-1][1] < logged[0][1] - 0.5
    measured = [record for record in records(trained) if "eval_loss" in record]
    assert [record["step"] for record in measured] == [4, 8, 12]
    assert measured[0].keys() >= {"eval_perplexity", "eval_accuracy", "eval_bits_per_byte"}
    header, *rows = (trained / "metrics.csv").read_text().splitlines()
    assert header.startswith("step,epoch,loss,learning_rate")
    assert len(rows) == len(records(trained))
    assert (trained / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert list((trained / "logs").glob("events.out.tfevents.*"))
    assert [folder.name for folder in checkpoint_folders(trained)] == ["checkpoint-8", "checkpoint-12"]
    assert not list(trained.glob("**/.*")) + list(trained.glob("**/*.bin"))


def test_the_best_model_loads_in_transformers_and_in_the_service(trained: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(trained / "best_model")
    tokenizer = AutoTokenizer.from_pretrained(trained / "best_model")
    assert model.config.architectures == ["GPT2LMHeadModel"]
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == 0
    assert tokenizer.chat_template
    folder = ModelFolder.open(trained / "best_model")
    text = "User: Привіт! 👋\nAssistant:"
    assert folder.load_tokenizer().encode(text) == tokenizer(text)["input_ids"]
    with torch.no_grad():
        found = model(**tokenizer(text, return_tensors="pt")).logits
    assert bool(torch.isfinite(found).all())


def test_the_logged_validation_loss_is_what_transformers_finds(trained: Path) -> None:
    from transformers import AutoModelForCausalLM

    from gpt2svc.training.documents import read_sources
    from gpt2svc.training.encoded_corpus import split_documents

    settings, sources = saved_run(trained)
    held_out = split_documents(read_sources(sources), settings.validation_split or 0, settings.seed)[1]
    folder = ModelFolder.open(trained / "final_model")
    tokenizer, model = folder.load_tokenizer(), AutoModelForCausalLM.from_pretrained(folder.path)
    total, count = 0.0, 0
    for document in held_out[0].documents:
        ids = torch.tensor([[*tokenizer.encode(document.text), 0]])[:, :65]
        with torch.no_grad():
            logits = model(ids[:, :-1]).logits[0]
        total += torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
        count += ids.shape[1] - 1
    assert records(trained)[-1]["eval_loss"] == pytest.approx(total / count, rel=1e-4)


def test_the_best_model_is_the_best_by_validation_loss_and_training_stops_early(
    sources: Sources, tmp_path: Path
) -> None:
    # A learning rate at which the loss rises after the first validations.
    wild = replace(TINY, learning_rate=3.0, warmup_steps=8, max_steps=400, eval_steps=4, early_stopping_patience=2)
    outcome = train(wild, sources, tmp_path / "out", SilentDisplay())
    measured = {record["step"]: record["eval_loss"] for record in records(tmp_path / "out") if "eval_loss" in record}
    best = min(measured, key=measured.__getitem__)
    assert outcome.step == max(measured) == best + 8 < 400
    assert (outcome.best_step, outcome.best_loss) == (best, measured[best])
    assert json.loads((tmp_path / "out" / "validation.json").read_text())["step"] == best
    assert_same_weights(tmp_path / "out" / "final_model", tmp_path / "out" / f"checkpoint-{outcome.step}")
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "out" / "final_model", tmp_path / "out" / "best_model")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_and_resumed_run_ends_as_an_uninterrupted_one(
    sources: Sources, tmp_path: Path, number: signal.Signals
) -> None:
    # Dropout draws from the random state, accumulation crosses epochs, step 5 is between two lines of the log.
    settings = replace(TINY, dropout=0.1, bf16=True, gradient_accumulation_steps=8)
    train(settings, sources, tmp_path / "whole", SilentDisplay())
    stopped = train(settings, sources, tmp_path / "parts", StoppingDisplay(5, number))
    assert (stopped.signal_number, stopped.step) == (number, 5)
    assert not (tmp_path / "parts" / "final_model").exists()
    resumed = train(*saved_run(tmp_path / "parts"), tmp_path / "parts", SilentDisplay(), resume=True)
    assert resumed.step == 12
    for name in ("final_model", "best_model"):
        assert_same_weights(tmp_path / "whole" / name, tmp_path / "parts" / name)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_signal_handlers_are_put_back_after_training(sources: Sources, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    train(TINY, sources, tmp_path / "out", StoppingDisplay(1, signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) is before


def test_resuming_with_other_settings_or_data_is_refused_by_name(
    sources: Sources, corpus_file: Path, tmp_path: Path
) -> None:
    train(TINY, sources, tmp_path / "out", StoppingDisplay(2, signal.SIGTERM))
    with pytest.raises(InvalidInputError, match=r"learning_rate = 0\.01, now it is 0\.0001"):
        train(replace(TINY, learning_rate=1e-4), sources, tmp_path / "out", SilentDisplay(), resume=True)
    with corpus_file.open("a") as file:
        file.write(json.dumps({"text": "one more"}) + "\n")
    with pytest.raises(InvalidInputError, match="data = "):
        train(TINY, sources, tmp_path / "out", SilentDisplay(), resume=True)


def test_a_run_that_died_before_its_first_checkpoint_starts_again(sources: Sources, tmp_path: Path) -> None:
    train(TINY, sources, tmp_path / "out", StoppingDisplay(1, signal.SIGTERM))
    for folder in checkpoint_folders(tmp_path / "out"):
        folder.rename(folder.with_name(f".writing-{folder.name}"))  # what a kill while saving leaves
    train(*saved_run(tmp_path / "out"), tmp_path / "out", SilentDisplay(), resume=True)
    train(TINY, sources, tmp_path / "whole", SilentDisplay())
    assert_same_weights(tmp_path / "whole" / "final_model", tmp_path / "out" / "final_model")
    assert losses(tmp_path / "whole") == losses(tmp_path / "out")


def test_a_broken_checkpoint_is_an_error_that_names_it(trained: Path) -> None:
    (trained / "checkpoint-12" / "training_state.json").write_bytes(b"broken")
    with pytest.raises(InvalidInputError, match="checkpoint-12"):
        train(*saved_run(trained), trained, SilentDisplay(), resume=True)


def test_a_used_folder_is_not_overwritten_and_an_empty_one_not_resumed(sources: Sources, trained: Path) -> None:
    with pytest.raises(InvalidInputError, match="is not empty: add --resume"):
        train(TINY, sources, trained, SilentDisplay())
    with pytest.raises(InvalidInputError, match="no run to resume"):
        saved_run(trained.parent / "new")


def test_bad_data_or_settings_write_nothing(sources: Sources, tmp_path: Path) -> None:
    bad = write_rows(tmp_path / "bad.jsonl", ["nonsense"])
    with pytest.raises(CorpusError):
        train(TINY, (Source(bad),), tmp_path / "out", SilentDisplay())
    changes = (
        {"learning_rate": float("nan")}, {"learning_rate": -1.0}, {"max_length": 65}, {"max_steps": -1},
        {"max_grad_norm": 0.0}, {"task": "poetry"}, {"fp16": True}, {"device": "cuda:99"}, {"seed": 2**32},
    )  # fmt: skip
    for change in changes:
        with pytest.raises(InvalidInputError) as caught:
            train(replace(TINY, **change), sources, tmp_path / "out", SilentDisplay())
        assert caught.value.field == next(iter(change))
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_a_number_stops_the_run_and_leaves_the_best_model_whole(
    sources: Sources, tmp_path: Path
) -> None:
    hot = replace(TINY, learning_rate=1e30, max_grad_norm=1e30, warmup_steps=0, eval_steps=1)
    with pytest.raises(InvalidInputError, match="Lower --learning-rate"):
        train(hot, sources, tmp_path / "out", SilentDisplay())
    for path in (tmp_path / "out").glob("*_model/model.safetensors"):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in load_file(path).values())


def test_a_disk_too_small_for_the_run_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(StorageFullError, match=r"free some space, lower --save-total-limit"):
        check_space(tmp_path, 1_000_000, 2, 20_000_000)
    check_space(tmp_path, 1_000_000, 2, 60_000_000)


def test_a_disk_that_fills_up_is_said_and_the_best_model_stays(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpt2svc.training.model_writer as module

    fill, count = module.ModelWriter.fill, [0]

    def full(writer: module.ModelWriter, model: object, folder: Path) -> None:
        fill(writer, model, folder)
        count[0] += 1
        if count[0] > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.ModelWriter, "fill", full)
    with pytest.raises(StorageFullError, match="disk is full"):
        train(TINY, sources, tmp_path / "out", SilentDisplay())
    assert sorted(load_file(tmp_path / "out" / "best_model" / "model.safetensors"))
    assert not list((tmp_path / "out").glob(".*"))


def test_one_row_wants_a_word_about_validation_and_then_trains(tmp_path: Path) -> None:
    one = (Source(write_rows(tmp_path / "one.jsonl", [chat_row("Hi", "Hello")])),)
    with pytest.raises(InvalidInputError, match="--validation-split 0"):
        train(TINY, one, tmp_path / "out", SilentDisplay())
    assert not (tmp_path / "out").exists()
    outcome = train(replace(TINY, validation_split=0.0, max_steps=2), one, tmp_path / "out", SilentDisplay())
    assert outcome.best_loss is None
    assert_same_weights(tmp_path / "out" / "best_model", tmp_path / "out" / "final_model")


def test_epochs_decide_the_number_of_steps_where_max_steps_does_not(sources: Sources, tmp_path: Path) -> None:
    settings = replace(TINY, max_steps=0, num_train_epochs=2.0, join_share=0.0)
    outcome = train(settings, sources, tmp_path / "out", SilentDisplay())
    assert outcome.step == outcome.num_steps > 2
    assert records(tmp_path / "out")[-1]["epoch"] == 2.0


def test_fine_tuning_keeps_vocabulary_and_shape_and_starts_from_the_weights(
    sources: Sources, trained: Path, tmp_path: Path
) -> None:
    given = dict.fromkeys(("n_layer", "n_head", "n_embd", "n_positions"))
    base = trained / "best_model"
    tuned = replace(TINY, **given, from_scratch=False, model=str(base), max_steps=1, learning_rate=1e-9)
    train(tuned, sources, tmp_path / "tuned", SilentDisplay())
    result = tmp_path / "tuned" / "best_model"
    assert (result / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    before, after = load_file(base / "model.safetensors"), load_file(result / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_each_kind_of_run_has_its_usual_defaults() -> None:
    tuned = with_defaults(TrainingSettings(model="x"))
    assert (tuned.per_device_train_batch_size, tuned.num_train_epochs, tuned.lr_scheduler_type) == (2, 3.0, "linear")
    assert (tuned.save_steps, tuned.logging_steps, tuned.save_total_limit) == (500, 100, 2)
    fresh = with_defaults(TrainingSettings(from_scratch=True))
    assert (fresh.n_layer, fresh.n_head, fresh.n_embd, fresh.n_positions) == (6, 8, 384, 1024)
    assert (fresh.per_device_train_batch_size, fresh.num_train_epochs, fresh.max_length) == (8, 20.0, 1024)
    assert (fresh.learning_rate, fresh.lr_scheduler_type, fresh.validation_split) == (5e-5, "cosine", 0.2)


def test_a_model_of_another_kind_is_refused(sources: Sources, trained: Path, tmp_path: Path) -> None:
    given = dict.fromkeys(("n_layer", "n_head", "n_embd", "n_positions"))
    base = trained / "best_model"
    (base / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(InvalidInputError, match="only GPT-2 and GPT-1"):
        train(replace(TINY, **given, from_scratch=False, model=str(base)), sources, tmp_path / "t", SilentDisplay())
