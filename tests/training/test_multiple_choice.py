import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2DoubleHeadsModel, GPT2LMHeadModel

from gpt2svc.training.display import SilentDisplay
from gpt2svc.training.documents import CorpusError
from gpt2svc.training.multiple_choice import MultipleChoice, Question, Questions
from gpt2svc.training.run import train
from gpt2svc.training.settings import Source, TrainingSettings
from gpt2svc.training.vocabulary import learned_vocabulary
from tests.training.conftest import write_rows

SETTINGS = TrainingSettings(
    task="multiple-choice", max_steps=40, per_device_train_batch_size=8, learning_rate=3e-3, eval_steps=20,
    save_steps=100, logging_steps=10, device="cpu", validation_split=0.2,
)  # fmt: skip
ROWS = [
    {
        "prompt": f"Питання {index}: 2 + 2?",
        "choices": [" чотири", " п'ять", " жодного"][: 2 + index % 2] if index % 3 else [" п'ять", " чотири"],
        "label": 0 if index % 3 else 1,
    }
    for index in range(60)
]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=350, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, summary_first_dropout=0.0,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    texts = (row["prompt"] + choice for row in ROWS for choice in row["choices"])
    for name, content in learned_vocabulary(texts, 350, 64).items():
        (folder / name).write_bytes(content)
    return folder


def test_the_right_choice_is_learned_and_the_folder_is_transformers(gpt2: Path, tmp_path: Path) -> None:
    source = Source(write_rows(tmp_path / "rows.jsonl", ROWS))
    train(replace(SETTINGS, model=str(gpt2)), (source,), tmp_path / "out", SilentDisplay())
    report = json.loads((tmp_path / "out" / "validation.json").read_text())
    assert report["accuracy"] > 0.9
    assert report["loss"] == pytest.approx(report["choice_loss"] + report["lm_loss"])
    folder = tmp_path / "out" / "best_model"
    assert {"multiple_choice_head.summary.weight", "multiple_choice_head.summary.bias"} <= set(
        load_file(folder / "model.safetensors")
    )
    model = GPT2DoubleHeadsModel.from_pretrained(folder)
    assert model.config.architectures == ["GPT2DoubleHeadsModel"]
    from gpt2svc.models.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_folder(folder)
    scores = []
    for choice in (" чотири", " п'ять"):
        ids = torch.tensor([[tokenizer.encode(ROWS[1]["prompt"]) + tokenizer.encode(choice)]])
        with torch.no_grad():
            scores.append(model(ids, mc_token_ids=torch.tensor([[ids.shape[-1] - 1]])).mc_logits.item())
    assert scores[0] > scores[1]


def test_the_loss_is_transformers_choice_loss_plus_its_language_model_loss(gpt2: Path) -> None:
    model = GPT2DoubleHeadsModel.from_pretrained(gpt2, num_labels=1).eval()
    rows = tuple(torch.randint(2, 350, (length,), generator=torch.manual_seed(length)).numpy() for length in (6, 9))
    questions = Questions((Question(rows, 4, 1),), (1.0,), 2, 0, 7)
    task = MultipleChoice(questions, None)
    batch = questions.collate([0])
    labels = torch.full_like(batch["input_ids"], -100)
    labels[0, 1, 4:9] = batch["input_ids"][0, 1, 4:9]
    theirs = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], mc_token_ids=batch["mc_token_ids"],
        mc_labels=torch.tensor([1]), labels=labels,
    )  # fmt: skip
    torch.testing.assert_close(task.loss(model, batch), theirs.loss + theirs.mc_loss)


def test_questions_with_more_choices_do_not_change_the_loss_of_their_neighbours(gpt2: Path) -> None:
    model = GPT2DoubleHeadsModel.from_pretrained(gpt2, num_labels=1).eval()

    def question(*lengths: int) -> Question:
        rows = (torch.randint(2, 350, (size,), generator=torch.manual_seed(size)).numpy() for size in lengths)
        return Question(tuple(rows), 3, 0)

    few, many = question(5, 7), question(6, 9, 12, 4)
    questions = Questions((few, many), (1.0, 1.0), 2, 0, 7)
    task = MultipleChoice(questions, None)
    with torch.no_grad():
        together = task.sums(model, questions.collate([0, 1]))
        alone = task.sums(model, questions.collate([0])) + task.sums(model, questions.collate([1]))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_rows_without_choices_or_too_long_are_named(gpt2: Path, tmp_path: Path) -> None:
    rows = [ROWS[0], {"text": "plain"}, {"prompt": "x" * 200, "choices": ["a", "b"], "label": 0}]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(CorpusError) as caught:
        train(
            replace(SETTINGS, model=str(gpt2), validation_split=0.0), (Source(path),), tmp_path / "out", SilentDisplay()
        )
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [f"{path}:2", f"{path}:3"]
    assert "at most 64 fit" in caught.value.problems[1]
