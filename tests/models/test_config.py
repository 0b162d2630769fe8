import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gpt2svc.errors import ModelFormatError, UnsafeModelError
from gpt2svc.models.config import GPT2Config
from tests.fakes.checkpoint import TINY_CONFIG


def parse(**changes: Any) -> GPT2Config:
    return GPT2Config.from_json({**TINY_CONFIG, **changes})


def test_what_transformers_writes_is_read_as_it_meant(tmp_path: Path) -> None:
    from transformers import GPT2Config as Reference

    reference = Reference(
        vocab_size=300,
        n_positions=64,
        n_embd=24,
        n_layer=3,
        n_head=4,
        n_inner=40,
        activation_function="relu",
        layer_norm_epsilon=1e-6,
        scale_attn_weights=False,
        scale_attn_by_inverse_layer_idx=True,
        reorder_and_upcast_attn=True,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        dtype="bfloat16",
    )
    reference.save_pretrained(tmp_path)
    ours = GPT2Config.from_file(tmp_path / "config.json")
    assert (ours.architecture, ours.head) == (reference.model_type, None)
    for field in fields(ours):
        if field.name in ("architecture", "head"):
            continue
        theirs = getattr(reference, field.name)
        assert getattr(ours, field.name) == (str(theirs).removeprefix("torch.") if field.name == "dtype" else theirs)
    assert ours.head_dim == 6


def test_defaults_are_those_of_transformers() -> None:
    from transformers import GPT2Config as Reference

    reference = Reference()
    ours = GPT2Config.from_json({"model_type": "gpt2"})
    for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "activation_function"):
        assert getattr(ours, name) == getattr(reference, name)
    assert ours.layer_norm_epsilon == reference.layer_norm_epsilon
    assert ours.n_inner == 4 * reference.n_embd
    assert ours.eos_token_id is None  # config.json names it; where it doesn't, the tokenizer knows


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vocab_size", 0),
        ("vocab_size", -1),
        ("vocab_size", 2**31),
        ("vocab_size", 10**400),
        ("vocab_size", "50257"),
        ("vocab_size", 50257.5),
        ("vocab_size", True),
        ("vocab_size", [50257]),
        ("n_positions", 1),
        ("n_positions", 2**63),
        ("n_embd", 0),
        ("n_embd", 2**40),
        ("n_layer", 0),
        ("n_layer", 10**9),
        ("n_head", 0),
        ("n_head", 3),
        ("n_head", 1e308),
        ("n_inner", -5),
        ("n_inner", 2**62),
        ("layer_norm_epsilon", 0),
        ("layer_norm_epsilon", -1e-5),
        ("layer_norm_epsilon", float("nan")),
        ("layer_norm_epsilon", float("inf")),
        ("layer_norm_epsilon", 10**400),
        ("layer_norm_epsilon", "1e-5"),
        ("activation_function", "mish"),
        ("activation_function", 5),
        ("scale_attn_weights", "yes"),
        ("scale_attn_by_inverse_layer_idx", 1),
        ("tie_word_embeddings", "false"),
        ("eos_token_id", "<|endoftext|>"),
        ("eos_token_id", 1.5),
        ("dtype", "int4"),
        ("model_type", "llama"),
        ("model_type", None),
        ("model_type", {"a": 1}),
        ("add_cross_attention", True),
        ("quantization_config", {"bits": 4}),
    ],
)
def test_wrong_value_is_refused_by_file_and_key(key: str, value: object) -> None:
    changes = {key: value} if key != "model_type" else {key: value, "architectures": None}
    with pytest.raises(ModelFormatError) as caught:
        parse(**changes)
    assert caught.value.field == key
    assert "config.json" in caught.value.message
    assert key in caught.value.message
    assert len(caught.value.message) < 300


def test_another_kind_of_model_is_told_what_is_supported() -> None:
    with pytest.raises(ModelFormatError, match="supported are 'gpt2' and 'openai-gpt'"):
        parse(model_type="llama")


@pytest.mark.parametrize("key", ["auto_map", "custom_pipelines", "trust_remote_code"])
def test_code_of_the_models_own_is_refused(key: str) -> None:
    with pytest.raises(UnsafeModelError, match=key):
        parse(**{key: {"AutoModelForCausalLM": "modeling_evil.Evil"}})


def test_old_spellings_are_understood() -> None:
    config = GPT2Config.from_json(
        {
            "architectures": ["GPT2LMHeadModel"],
            "n_ctx": 64,
            "hidden_size": 16,
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "n_inner": None,
            "activation_function": "swish",
            "torch_dtype": "float16",
        }
    )
    assert (config.n_positions, config.n_embd, config.n_head, config.n_layer) == (64, 16, 2, 1)
    assert (config.n_inner, config.activation_function, config.dtype) == (64, "silu", "float16")


def test_token_ids_outside_the_vocabulary_count_as_none() -> None:
    config = parse(vocab_size=100, bos_token_id=50256, eos_token_id=[7, 8])
    assert (config.bos_token_id, config.eos_token_id) == (None, 7)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[1]", b'{"vocab_size": 5,}', b'{"n_embd": 8, "n_embd": 9}', b'{"n_embd": NaN}', b"\xff{}"],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"config\.json"):
        GPT2Config.from_file(tmp_path / "config.json")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_lacks_are_refused(tmp_path: Path, constant: str) -> None:
    (tmp_path / "config.json").write_text(f'{{"model_type": "gpt2", "initializer_range": {constant}}}')
    with pytest.raises(ModelFormatError, match=f"{constant} is not JSON"):
        GPT2Config.from_file(tmp_path / "config.json")


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    with pytest.raises(ModelFormatError, match=r"config\.json"):
        GPT2Config.from_file(tmp_path / "config.json")


def test_config_larger_than_any_real_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**TINY_CONFIG, "padding": "x" * 2_000_000}))
    with pytest.raises(ModelFormatError, match="larger than"):
        GPT2Config.from_file(tmp_path / "config.json")
