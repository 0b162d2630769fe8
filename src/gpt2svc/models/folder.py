"""ModelFolder: a GPT-2 checkpoint on disk, validated before anything is loaded from it. Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from gpt2svc.errors import ModelFormatError
from gpt2svc.models.chat_template import ChatTemplate
from gpt2svc.models.config import CONFIG_NAME, GPT2Config
from gpt2svc.models.folder_links import check_inside
from gpt2svc.models.revision import WeightsHasher
from gpt2svc.models.safetensors_header import TensorEntry, read_safetensors_header
from gpt2svc.models.tensor_names import gpt2_tensors
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.models.weight_files import find_weight_files


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that holds a whole, safe and well-shaped GPT-2 checkpoint.

    `tensors` has what a language model needs, under canonical names without the `transformer.` prefix
    (`wte.weight`, `h.0.attn.c_attn.weight`, `ln_f.bias`, …), each with its shape checked against `config`. It has
    `lm_head.weight` only where the files do: always when `config.tie_word_embeddings` is false, perhaps otherwise.
    """

    path: Path
    name: str  # as asked for: "starter", a hub name, a folder
    config: GPT2Config
    tensors: Mapping[str, TensorEntry]
    weight_files: tuple[Path, ...]
    revision: str  # the hub's commit, or the first 12 hex digits of SHA-256 over config.json and the weights

    @classmethod
    def open(
        cls, path: Path, *, name: str | None = None, revision: str | None = None, hasher: WeightsHasher | None = None
    ) -> Self:
        """Read and check the folder at `path`; reads headers only, unless `revision` has to be computed.

        `name` is the folder's own by default. `revision` is the hub's commit where it is known; else the weights are
        hashed (about a second a gigabyte), once per `hasher` while the files stay as they are. Raises
        ModelFormatError for what is missing, truncated or of another shape, UnsafeModelError for pickle weights and
        code of the model's own.
        """
        if not path.is_dir():
            raise ModelFormatError(f"{path} is not a folder.", field="model")
        config_path = path / CONFIG_NAME
        if not config_path.is_file():
            raise ModelFormatError(f"{path} has no {CONFIG_NAME}: it is not a model folder.", field=CONFIG_NAME)
        check_inside(path, config_path)
        config = GPT2Config.from_file(config_path)
        weight_files = find_weight_files(path)
        entries = [entry for file in weight_files for entry in read_safetensors_header(file)]
        return cls(
            path=path,
            name=name if name is not None else str(path),
            config=config,
            tensors=gpt2_tensors(entries, config),
            weight_files=weight_files,
            revision=revision or (hasher or WeightsHasher()).revision((config_path, *weight_files)),
        )

    @property
    def num_parameters(self) -> int:
        """Weights that a forward pass uses; a tied output layer counts once."""
        return sum(_num_elements(entry) for entry in self.tensors.values())

    @property
    def num_bytes(self) -> int:
        """Size of the weight files on disk."""
        return sum(file.stat().st_size for file in self.weight_files)

    def load_tokenizer(self) -> Tokenizer:
        """Its tokenizer, checked against the model's vocabulary. Raises ModelFormatError."""
        tokenizer = Tokenizer.from_folder(self.path)
        if tokenizer.max_encodable_id >= self.config.vocab_size:
            raise ModelFormatError(
                f"The tokenizer in {self.path} has ids up to {tokenizer.max_encodable_id}, but the model's vocab_size "
                f"is {self.config.vocab_size}: they don't belong together.",
                field="vocab_size",
            )
        return tokenizer

    def load_chat_tokenizer(self, chat_template: Path | None = None) -> Tokenizer:
        """The same for who writes conversations: with its chat template, or the one in a file that is given.

        Raises ModelFormatError, also for a template that can't be used.
        """
        tokenizer = self.load_tokenizer()
        template = (
            ChatTemplate.from_folder(self.path, tokenizer)
            if chat_template is None
            else ChatTemplate.from_file(chat_template, tokenizer)
        )
        return tokenizer.with_chat_template(template)


_ITEM_BYTES: Final = {"F32": 4, "F16": 2, "BF16": 2}


def _num_elements(entry: TensorEntry) -> int:
    return entry.num_bytes // _ITEM_BYTES[entry.dtype]
