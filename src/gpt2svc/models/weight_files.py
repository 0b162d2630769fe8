"""Which files of a model folder hold its weights: one safetensors file, or the shards that an index names."""

import re
from pathlib import Path
from typing import Final

from gpt2svc.errors import ModelFormatError, UnsafeModelError
from gpt2svc.models.folder_links import check_inside
from gpt2svc.models.json_file import read_json_object
from gpt2svc.models.safetensors_header import HOW_TO_CONVERT

WEIGHTS_NAME: Final = "model.safetensors"
INDEX_NAME: Final = "model.safetensors.index.json"
PICKLE_SUFFIXES: Final = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})

_SHARD_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.safetensors")
_MAX_INDEX_BYTES: Final = 16 << 20
_MAX_SHARDS: Final = 1000


def find_weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of `folder`, sorted by name.

    Raises UnsafeModelError where there are only pickle weights, and ModelFormatError where there are none, where the
    index names anything but plain files beside it, or where a file is a link that leaves the folder.
    """
    if (folder / WEIGHTS_NAME).is_file():
        names = {WEIGHTS_NAME}
    elif (folder / INDEX_NAME).is_file():
        names = _shards(folder / INDEX_NAME)
    else:
        raise _no_weights(folder)
    files = tuple(folder / name for name in sorted(names))
    for file in files:
        if not file.is_file():
            raise ModelFormatError(f"{folder} lacks {file.name}, which its index names.", field=file.name)
        check_inside(folder, file)
    return files


def _shards(index: Path) -> set[str]:
    weight_map = read_json_object(index, max_bytes=_MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelFormatError(f"{index.name} has no weight_map.", field=index.name)
    names = set()
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or not _SHARD_NAME.fullmatch(name):
            raise ModelFormatError(
                f"{index.name} says that {tensor[:100]!r} is in {str(name)[:100]!r}, which is not the plain name of a "
                "safetensors file.",
                field=index.name,
            )
        names.add(name)
    if len(names) > _MAX_SHARDS:
        raise ModelFormatError(f"{index.name} names more than {_MAX_SHARDS} files.", field=index.name)
    return names


def _no_weights(folder: Path) -> Exception:
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in PICKLE_SUFFIXES)
    if pickles:
        return UnsafeModelError(
            f"{folder} has only pickle weights ({', '.join(pickles[:3])}). {HOW_TO_CONVERT}", field=pickles[0]
        )
    return ModelFormatError(f"{folder} has no {WEIGHTS_NAME} and no {INDEX_NAME}.", field=WEIGHTS_NAME)
