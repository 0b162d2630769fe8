"""What training starts from: a model folder to fine-tune, or a new GPT-2 of a chosen shape; and its encoder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gpt2svc.errors import InvalidInputError
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.training.chat_template import CHAT_TEMPLATE
from gpt2svc.training.encoder import Encoder
from gpt2svc.training.settings import TrainingSettings

MODEL_TYPES: Final = ("gpt2", "openai-gpt")
TOKENIZER_FILES: Final = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja",
)  # fmt: skip
_CONFIG: Final = "tokenizer_config.json"
_CLASSES: Final[Mapping[tuple[str, str], str]] = {
    ("gpt2", "classification"): "GPT2ForSequenceClassification",
    ("gpt2", "multiple-choice"): "GPT2DoubleHeadsModel",
    ("openai-gpt", "lm"): "OpenAIGPTLMHeadModel",
    ("openai-gpt", "classification"): "OpenAIGPTForSequenceClassification",
    ("openai-gpt", "multiple-choice"): "OpenAIGPTDoubleHeadsModel",
}


@dataclass(frozen=True)
class BaseModel:
    """`folder` is None for a new model; `tokenizer_files` go beside the trained weights."""

    folder: Path | None
    config: Any  # transformers' configuration
    tokenizer_files: Mapping[str, bytes]
    encoder: Encoder

    @property
    def model_type(self) -> str:
        return str(self.config.model_type)

    @property
    def n_positions(self) -> int:
        return int(self.config.n_positions)

    @property
    def known_labels(self) -> tuple[str, ...] | None:
        """The classes of a model that is a classifier already."""
        if not any(name.endswith("ForSequenceClassification") for name in self.config.architectures or ()):
            return None
        return tuple(self.config.id2label[index] for index in range(self.config.num_labels))

    def is_packed(self, settings: TrainingSettings) -> bool:
        return settings.task == "lm" and self.model_type == "gpt2"

    def architecture(self, task: str) -> str:
        return _CLASSES.get((self.model_type, task), "GPT2LMHeadModel")


def existing_model(folder: Path) -> BaseModel:
    """Raises InvalidInputError where `folder` holds no GPT-2 or GPT-1 in safetensors, or ModelFormatError."""
    from transformers import AutoConfig

    described = _described(folder)
    if described.get("model_type") not in MODEL_TYPES:
        raise InvalidInputError(
            f"{folder} holds a {described.get('model_type')!r} model: only GPT-2 and GPT-1 can be trained here.",
            field="model",
        )
    if not list(folder.glob("*.safetensors")):
        raise InvalidInputError(
            f"{folder} has no *.safetensors. Pickle weights are not loaded: convert them first, see gpt2svc convert.",
            field="model",
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever a broken config.json makes of transformers
        raise InvalidInputError(f"{folder / 'config.json'} can't be used: {str(error)[:200]}", field="model") from error
    tokenizer = Tokenizer.from_folder(folder)
    if tokenizer.max_encodable_id >= config.vocab_size:
        raise InvalidInputError(
            f"{folder}: the tokenizer has ids up to {tokenizer.max_encodable_id}, but the model's vocab_size is "
            f"{config.vocab_size}.",
            field="model",
        )
    files = {name: (folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file()}
    pad_id = config.pad_token_id
    if pad_id is None:
        pad_id = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
    config.pad_token_id = pad_id
    encoder = Encoder(tokenizer, config.vocab_size, tokenizer.eos_token_id, pad_id, _spellings(files, tokenizer))
    files = _with_tokenization(_with_template(files), tokenizer)
    return BaseModel(folder, config, files, encoder)


def new_model(settings: TrainingSettings, tokenizer_files: Mapping[str, bytes]) -> BaseModel:
    """A GPT-2 of the chosen shape, its weights not made yet."""
    from transformers import GPT2Config

    with tempfile.TemporaryDirectory(prefix="gpt2svc-") as name:
        folder = Path(name)
        for file_name, content in tokenizer_files.items():
            (folder / file_name).write_bytes(content)
        tokenizer = Tokenizer.from_folder(folder)
    pad = json.loads(tokenizer_files[_CONFIG])["pad_token"]
    spellings = _spellings(tokenizer_files, tokenizer)
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size,
        **{name: getattr(settings, name) for name in ("n_positions", "n_embd", "n_layer", "n_head")},
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=spellings[pad],
    )
    encoder = Encoder(tokenizer, tokenizer.vocab_size, tokenizer.eos_token_id, spellings[pad], spellings)
    return BaseModel(None, config, tokenizer_files, encoder)


def build_model(base: BaseModel, settings: TrainingSettings, labels: Sequence[str] | None) -> Any:
    """The transformers model for the task, in float32, with the base's weights or random ones from torch's state.

    Raises InvalidInputError where the weights can't be loaded.
    """
    import transformers

    from gpt2svc.training.packed_attention import NAME
    from gpt2svc.training.packed_model import PackedGpt2

    config = base.config
    if settings.dropout is not None:
        config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = settings.dropout
    if labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: index for index, name in enumerate(labels)}
        config.problem_type = "single_label_classification"
    if settings.task == "multiple-choice":
        config.num_labels = 1  # the head gives each choice one score
    if base.is_packed(settings):
        PackedGpt2.register_attention()
        kind: Any = PackedGpt2
        config._attn_implementation = NAME
    else:
        kind = getattr(transformers, base.architecture(settings.task))
    if base.folder is None:
        return kind(config)
    try:
        return kind.from_pretrained(
            base.folder, config=config, dtype="float32", local_files_only=True, use_safetensors=True
        )
    except Exception as error:  # whatever broken weights make of transformers
        raise InvalidInputError(f"{base.folder} can't be loaded: {str(error)[:300]}", field="model") from error


def _described(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"Can't read {path}: {error.strerror}.", field="model") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is not JSON: {error}.", field="model") from error
    if not isinstance(described, dict):
        raise InvalidInputError(f"{path} must hold an object.", field="model")
    return described


def _spellings(files: Mapping[str, bytes], tokenizer: Tokenizer) -> dict[str, int]:
    if "tokenizer.json" in files:
        from tokenizers import Tokenizer as Backend

        return dict(Backend.from_str(files["tokenizer.json"].decode("utf-8")).get_vocab(with_added_tokens=True))
    vocab = json.loads(files["vocab.json"]) if "vocab.json" in files else {}
    return {**vocab, **tokenizer.special_tokens}


def _with_tokenization(files: Mapping[str, bytes], tokenizer: Tokenizer) -> dict[str, bytes]:
    """With the way that GPT-1's words were cut here: the trained model has to be served by the same one."""
    if tokenizer.tokenization == "byte-level":
        return dict(files)
    described = json.loads(files.get(_CONFIG, b"{}")) | {"tokenization": tokenizer.tokenization}
    return {**files, _CONFIG: (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode()}


def _with_template(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """With the chat template that the service renders by, where the model has none."""
    described = json.loads(files.get(_CONFIG, b"{}"))
    if "chat_template.jinja" in files or described.get("chat_template"):
        return dict(files)
    described["chat_template"] = CHAT_TEMPLATE
    return {**files, _CONFIG: (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode()}
