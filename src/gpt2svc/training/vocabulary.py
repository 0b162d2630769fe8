"""An own byte-level BPE vocabulary in GPT-2's layout, saved as transformers expects it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.transcript import END_OF_TEXT

# The template renders exactly what `render_transcript` does, and a prompt that ends with "Assistant:".
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if not loop.first -%}{{ '\\n' }}{%- endif -%}"
    "{{ 'User:' if message['role'] == 'user' else 'Assistant:' }} {{ message['content'] | trim }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '\\nAssistant:' }}{%- endif -%}"
)


def train_vocabulary(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE of at most `vocab_size` tokens, `<|endoftext|>` included; any string round-trips."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def tokenizer_files(tokenizer: Tokenizer, n_positions: int) -> dict[str, str]:
    """File name → text of what transformers' AutoTokenizer loads."""
    config = {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "model_max_length": n_positions,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    return {
        "tokenizer.json": tokenizer.to_str(pretty=False),
        "tokenizer_config.json": json.dumps(config, indent=2, ensure_ascii=False) + "\n",
    }


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder. Raises InvalidInputError where it is missing or broken."""
    path = folder / "tokenizer.json"
    try:
        tokenizer: Tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"Can't read {path}: {error.strerror}.", field="model") from error
    except Exception as error:  # the library's only exception class
        raise InvalidInputError(f"{path} is no tokenizer: {error}.", field="model") from error
    return tokenizer
