"""CompanionFiles: configuration and tokenizer beside the graphs, as Transformers.js reads them."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

from gpt2svc.models.config import CONFIG_NAME, MAX_CONFIG_BYTES
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.json_file import read_bytes, read_json_object
from gpt2svc.models.special_tokens import TOKENIZER_CONFIG_NAME
from gpt2svc.models.tokenizer_files import TOKENIZER_NAME, read_vocabulary

_GENERATION_NAME: Final = "generation_config.json"
_TEMPLATE_NAME: Final = "chat_template.jinja"
_MAX_BYTES: Final = 4 << 20


def write_companion_files(folder: ModelFolder, target: Path, external_files: dict[str, int]) -> None:
    """`external_files` are the graphs whose weights lie beside them, each with the number of their files."""
    _write(target / CONFIG_NAME, _config(folder, external_files))
    if (folder.path / _GENERATION_NAME).is_file():
        shutil.copyfile(folder.path / _GENERATION_NAME, target / _GENERATION_NAME)
    _write(target / TOKENIZER_CONFIG_NAME, _tokenizer_config(folder))
    # Rebuilt where the folder has only vocab.json and merges.txt: a browser reads nothing else.
    if (folder.path / TOKENIZER_NAME).is_file():
        shutil.copyfile(folder.path / TOKENIZER_NAME, target / TOKENIZER_NAME)
    else:
        (target / TOKENIZER_NAME).write_text(read_vocabulary(folder.path).backend.to_str(), encoding="utf-8")


def _config(folder: ModelFolder, external_files: dict[str, int]) -> dict[str, Any]:
    config = folder.config
    described = read_json_object(folder.path / CONFIG_NAME, max_bytes=MAX_CONFIG_BYTES)
    described |= {
        "model_type": config.architecture,
        "vocab_size": config.vocab_size,
        "n_positions": config.n_positions,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        # NOTE: what ends a long chat in Transformers.js; GPT-2's own name for it is n_positions.
        "max_position_embeddings": config.n_positions,
    }
    browser: dict[str, Any] = {}
    if config.is_language_model:
        prefix = "GPT2" if config.architecture == "gpt2" else "OpenAIGPT"
        described |= {"architectures": [f"{prefix}LMHeadModel"], "use_cache": True}
        browser["kv_cache_dtype"] = {"fp16": "float16"}
    if external_files:
        browser["use_external_data_format"] = external_files
    return described | {"transformers.js_config": browser}


def _tokenizer_config(folder: ModelFolder) -> dict[str, Any]:
    path = folder.path / TOKENIZER_CONFIG_NAME
    described = read_json_object(path, max_bytes=_MAX_BYTES) if path.is_file() else {}
    is_gpt1 = folder.config.architecture == "openai-gpt"
    described.setdefault("tokenizer_class", "OpenAIGPTTokenizer" if is_gpt1 else "GPT2Tokenizer")
    described["model_max_length"] = folder.config.n_positions
    template = folder.path / _TEMPLATE_NAME
    # A template in a file of its own wins, as it does in transformers; Transformers.js doesn't look for one.
    if template.is_file():
        described["chat_template"] = read_bytes(template, max_bytes=_MAX_BYTES).decode("utf-8")
    return described


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
