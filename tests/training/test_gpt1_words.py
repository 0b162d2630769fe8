"""A trained GPT-1 remembers how its words were cut."""

import json
from pathlib import Path

from transformers import AutoTokenizer, OpenAIGPTConfig, OpenAIGPTLMHeadModel

from gpt2svc.models.original_tokenization import is_available
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.training.base_model import existing_model
from tests.fakes.gpt1_tokenizer import GPT1_VOCAB_SIZE, write_gpt1_tokenizer


def test_tokenization_that_was_used_goes_with_the_trained_model(tmp_path: Path) -> None:
    config = OpenAIGPTConfig(vocab_size=GPT1_VOCAB_SIZE, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    for recorded in ("standard", None):
        folder = write_gpt1_tokenizer(tmp_path / str(recorded), tokenization=recorded)
        OpenAIGPTLMHeadModel(config).save_pretrained(folder)
        base = existing_model(folder)
        expected = recorded or ("original" if is_available() else "standard")
        assert json.loads(base.tokenizer_files["tokenizer_config.json"])["tokenization"] == expected
        trained = tmp_path / f"{recorded}-trained"
        trained.mkdir()
        for name, content in base.tokenizer_files.items():
            (trained / name).write_bytes(content)
        assert Tokenizer.from_folder(trained).tokenization == expected
        assert AutoTokenizer.from_pretrained(trained).tokenize("the cat") == ["the</w>", "cat</w>"]
