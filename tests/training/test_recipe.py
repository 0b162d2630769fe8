import itertools
import json
from pathlib import Path

import pytest

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.optimizer import build_optimizer, learning_rate_at
from gpt2svc.training.recipe import BUNDLED_RECIPES, Optimisation, Recipe, Source, read_recipe, validate


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_finds_its_files_in_the_corpus_then_beside_itself(tmp_path: Path) -> None:
    (tmp_path / "beside.jsonl").touch()
    text = (
        '[[sources]]\npath = "there.jsonl"\nrepeats = 2\n[[sources]]\npath = "beside.jsonl"\n[training]\nmax_steps = 5'
    )
    recipe = read_recipe(written(tmp_path, text), tmp_path / "corpus")
    assert [source.path for source in recipe.sources] == [
        tmp_path / "corpus" / "there.jsonl",
        tmp_path / "beside.jsonl",
    ]
    assert recipe.sources[0].repeats == 2.0
    assert recipe.optimisation == Optimisation(max_steps=5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("max_steps = ", "not TOML"),
        ("[oven]\nheat = 3", "unknown tables: oven"),
        ("[training]\nlerning_rate = 1.0", "no setting 'lerning_rate'"),
        ('[training]\nmax_steps = "many"', "max_steps must be of type int"),
        ("[training]\nmax_steps = true", "max_steps must be of type int"),
        ("[[sources]]\nrepeats = 1.0", "path"),
        ('validation_share = "half"', "validation_share"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        read_recipe(written(tmp_path, text), tmp_path)


def test_a_missing_recipe_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="Can't read the recipe"):
        read_recipe(tmp_path / "none.toml", tmp_path)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("[training]\nlearning_rate = nan", "learning_rate must be a finite number"),
        ("[training]\nlearning_rate = 0.0", "learning_rate must be greater than 0"),
        ("[training]\nnum_train_epochs = 0.0", "num_train_epochs"),
        ("[model]\nn_embd = 10\nn_head = 3", "multiple of n_head"),
        ("[model]\ndropout = 1.0", "dropout must be at least 0 and less than 1"),
        ("[model]\nvocab_size = 100", "vocab_size must be at least 257"),
        ("[reporting]\nsave_steps = 0", "save_steps must be at least 1"),
    ],
)
def test_settings_that_can_not_work_are_named_with_their_limit(tmp_path: Path, table: str, complaint: str) -> None:
    recipe = read_recipe(written(tmp_path, f'[[sources]]\npath = "x.jsonl"\n{table}'), tmp_path)
    with pytest.raises(InvalidInputError, match=complaint):
        validate(recipe)


def test_a_recipe_without_text_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="No training text"):
        validate(Recipe(sources=()))
    with pytest.raises(InvalidInputError, match="repeats"):
        validate(Recipe(sources=(Source(Path("x"), repeats=0.0),)))


@pytest.mark.parametrize("name", ["starter.toml", "starter_finish.toml"])
def test_a_bundled_recipe_is_valid_and_its_own_dialogues_are_there(tmp_path: Path, name: str) -> None:
    recipe = read_recipe(BUNDLED_RECIPES / name, tmp_path)
    validate(recipe)
    own = [source.path for source in recipe.sources if source.path.parent == BUNDLED_RECIPES]
    assert [path.name for path in own] == ["identity_english.jsonl", "identity_ukrainian.jsonl"]
    for path in own:
        rows = [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()]
        pairs = {(row[i]["content"], row[i + 1]["content"]) for row in rows for i in range(0, len(row), 2)}
        assert len(pairs) >= 300
        assert any(len(row) >= 8 for row in rows)
        assert any("gpt2svc" in answer for _, answer in pairs)


def test_held_out_sets_are_in_no_bundled_recipe() -> None:
    texts = [path.read_text(encoding="utf-8") for path in BUNDLED_RECIPES.glob("*.toml")]
    assert len(texts) == 2
    assert not any(name in text for text in texts for name in ("sgd_test", "topical_test"))


def test_both_stages_of_the_starter_hold_out_the_same_rows(tmp_path: Path) -> None:
    first, second = (read_recipe(BUNDLED_RECIPES / name, tmp_path) for name in ("starter.toml", "starter_finish.toml"))
    assert first.optimisation.seed == second.optimisation.seed
    assert first.validation_share == second.validation_share
    for ours, theirs in zip(first.sources, second.sources, strict=True):
        assert (ours.path, ours.exclude, ours.max_duplicates) == (theirs.path, theirs.exclude, theirs.max_duplicates)
        assert ours.is_validated == theirs.is_validated


def test_the_rate_warms_up_then_falls_along_a_cosine_to_its_floor() -> None:
    settings = Optimisation(learning_rate=1.0, warmup_steps=10, min_learning_rate_share=0.1)
    rates = [learning_rate_at(step, 101, settings) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[10:]))


def test_only_matrices_decay() -> None:
    from gpt2svc.training.network import TrainableGpt2
    from gpt2svc.training.shape import ModelShape

    model = TrainableGpt2(ModelShape(vocab_size=300, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optimizer(model, Optimisation(weight_decay=0.3)).param_groups
    decayed = {names[id(p)].removeprefix("transformer.h.0.") for p in groups[0]["params"]}
    assert decayed == {"attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"}
    assert (groups[0]["weight_decay"], groups[1]["weight_decay"]) == (0.3, 0.0)
