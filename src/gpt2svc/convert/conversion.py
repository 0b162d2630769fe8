"""convert: whatever form a GPT's weights come in, to a safetensors folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt2svc.convert.original_gpt1 import convert_original_gpt1, find_shards
from gpt2svc.convert.original_gpt2 import convert_original_gpt2, find_prefix
from gpt2svc.convert.pickle_weights import convert_pickles, find_pickles
from gpt2svc.errors import InvalidInputError, UnsafeModelError
from gpt2svc.models.new_folder import new_folder
from gpt2svc.models.weight_files import INDEX_NAME, WEIGHTS_NAME

Kind = Literal["GPT-2 TensorFlow checkpoint", "GPT-1 numpy shards", "pickle weights"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was made of what. `num_ignored` variables of the source were of no use: an optimizer's."""

    kind: Kind
    model_type: str  # "gpt2" or "openai-gpt"
    output: Path
    num_ignored: int = 0


def convert(source: Path, output: Path, *, is_pickle_allowed: bool = False) -> Conversion:
    """Write a folder that transformers loads to `output`, which must not exist yet; nothing is left after an error.

    `source` is a folder, or the prefix or a file of a TensorFlow checkpoint. Raises InvalidInputError for paths that
    can't be used, ModelFormatError for files that are missing or damaged, UnsafeModelError for pickles.
    """
    prefix = find_prefix(source)
    if prefix is not None:
        with new_folder(output) as target:
            num_ignored = convert_original_gpt2(prefix, target)
        return Conversion("GPT-2 TensorFlow checkpoint", "gpt2", output, num_ignored)
    if not source.is_dir():
        raise InvalidInputError(f"{source} is neither a folder nor a TensorFlow checkpoint.", field="source")
    shards = find_shards(source)
    if shards is not None:
        with new_folder(output) as target:
            convert_original_gpt1(shards, target)
        return Conversion("GPT-1 numpy shards", "openai-gpt", output)
    if (source / WEIGHTS_NAME).is_file() or (source / INDEX_NAME).is_file():
        raise InvalidInputError(f"{source} has safetensors already: there is nothing to convert.", field="source")
    pickles = find_pickles(source)
    if not pickles:
        raise InvalidInputError(
            f"{source} holds nothing to convert: no TensorFlow checkpoint (*.index), no params_shapes.json and no "
            "pytorch_model.bin.",
            field="source",
        )
    if not is_pickle_allowed:
        raise UnsafeModelError(
            f"{pickles[0].name} is a pickle, which can run code when it is read. If you trust where it comes from, "
            "say --allow-pickle: it is then read by a restricted reader in a process of its own.",
            field="allow_pickle",
        )
    with new_folder(output) as target:
        family = convert_pickles(source, pickles, target)
    return Conversion("pickle weights", family, output)
