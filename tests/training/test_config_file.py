from dataclasses import fields
from pathlib import Path

import pytest

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.config_file import BUNDLED_CONFIGS, parse_source, read_config
from gpt2svc.training.settings import Source, TrainingSettings
from gpt2svc.training.settings_check import check_settings


def written(tmp_path: Path, text: str, name: str = "config.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_files_are_looked_for_in_the_corpus_then_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "beside.jsonl").touch()
    text = 'max_steps = 5\n[[sources]]\npath = "there.jsonl"\nrepeats = 2\n[[sources]]\npath = "beside.jsonl"\n'
    settings, sources = read_config(str(written(tmp_path, text)), tmp_path / "corpus")
    assert settings == {"max_steps": 5}
    assert sources == (Source(tmp_path / "corpus" / "there.jsonl", repeats=2.0), Source(tmp_path / "beside.jsonl"))


def test_yaml_reads_like_toml_dashes_and_numbers_without_a_dot_included(tmp_path: Path) -> None:
    text = "data: [a.jsonl, 'b.jsonl:2.5']\nlearning-rate: 5e-5\nbf16: true\nvalidation_data: v.jsonl\n"
    settings, sources = read_config(str(written(tmp_path, text, "config.yaml")), None)
    assert settings == {"learning_rate": 5e-5, "bf16": True, "validation_data": (tmp_path / "v.jsonl",)}
    assert sources == (Source(tmp_path / "a.jsonl"), Source(tmp_path / "b.jsonl", repeats=2.5))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("c.toml", "max_steps = ", "not TOML"),
        ("c.yaml", "a: [", "not YAML"),
        ("c.yaml", "- 1", "must hold settings"),
        ("c.toml", "lerning_rate = 1.0", "no setting 'lerning_rate'"),
        ("c.toml", 'max_steps = "many"', "max_steps must be a whole number"),
        ("c.toml", "max_steps = true", "max_steps must be a whole number"),
        ("c.toml", 'bf16 = "yes"', "bf16 must be true or false"),
        ("c.toml", "[[sources]]\nrepeats = 1.0", "a table with a path"),
        ("c.toml", '[[sources]]\npath = "x"\nweight = 1', "no setting 'weight'"),
        ("c.toml", "data = 3", "data must be a list of files"),
    ],
)
def test_what_can_not_be_a_config_is_refused_by_name(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        read_config(str(written(tmp_path, text, name)), None)


def test_a_missing_config_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"Can't read the configuration nowhere\.toml"):
        read_config("nowhere.toml", None)


@pytest.mark.parametrize("path", sorted(BUNDLED_CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_bundled_configs_can_be_run(path: Path) -> None:
    values, sources = read_config(path.stem, Path("corpus"))
    model = None if values.get("from_scratch") else "starter"
    check_settings(TrainingSettings(**values, model=model), sources)
    own = [source.path for source in sources if source.path.parent == BUNDLED_CONFIGS]
    assert len(own) == 2
    assert all(source.exists() for source in own)


def test_a_source_may_carry_its_repeats() -> None:
    assert parse_source("a.jsonl:2.5") == Source(Path("a.jsonl"), repeats=2.5)
    assert parse_source("a:b.jsonl") == Source(Path("a:b.jsonl"))


def test_every_setting_has_help() -> None:
    assert all(item.metadata["help"].text.endswith(".") for item in fields(TrainingSettings))
