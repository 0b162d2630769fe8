"""Pickle weights to safetensors: never in this process, and only where the user asked for it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from gpt2svc.errors import ModelFormatError, UnsafeModelError
from gpt2svc.models.config import CONFIG_NAME, MAX_CONFIG_BYTES
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.folder_links import check_inside
from gpt2svc.models.json_file import read_json_object
from gpt2svc.models.safetensors_header import read_safetensors_header
from gpt2svc.models.tokenizer_files import TOKENIZER_FILES
from gpt2svc.models.weight_files import INDEX_NAME, WEIGHTS_NAME

PICKLE_NAME: Final = "pytorch_model.bin"
PICKLE_INDEX_NAME: Final = "pytorch_model.bin.index.json"

_COPIED: Final = (*TOKENIZER_FILES, "generation_config.json", "chat_template.jinja")
_FAMILIES: Final = ("gpt2", "openai-gpt")
_MAX_COPIED_BYTES: Final = 64 << 20
_MAX_INDEX_BYTES: Final = 16 << 20
_MAX_FILES: Final = 1000
_TIMEOUT_S: Final = 3600


def find_pickles(source: Path) -> tuple[Path, ...]:
    """The pickle files that hold the weights of the folder `source`, in order; empty where there are none."""
    if (source / PICKLE_NAME).is_file():
        return (source / PICKLE_NAME,)
    if not (source / PICKLE_INDEX_NAME).is_file():
        return ()
    weight_map = read_json_object(source / PICKLE_INDEX_NAME, max_bytes=_MAX_INDEX_BYTES).get("weight_map")
    names = {str(name) for name in weight_map.values()} if isinstance(weight_map, dict) else set()
    if not names or len(names) > _MAX_FILES or any(Path(name).name != name for name in names):
        raise ModelFormatError(f"{PICKLE_INDEX_NAME} has no proper weight_map.", field=PICKLE_INDEX_NAME)
    return tuple(source / name for name in sorted(names))


def convert_pickles(source: Path, pickles: tuple[Path, ...], target: Path) -> str:
    """Write a model folder into the empty folder `target`; returns its model_type.

    Raises ModelFormatError for what is missing or no GPT, UnsafeModelError for a pickle that holds more than tensors.
    """
    described = read_json_object(source / CONFIG_NAME, max_bytes=MAX_CONFIG_BYTES)
    family = described.get("model_type")
    if family not in _FAMILIES:
        raise ModelFormatError(f"{CONFIG_NAME} has model_type {str(family)[:80]!r}, not gpt2 or openai-gpt.")
    for name in (CONFIG_NAME, *_COPIED):
        if (source / name).is_file():
            check_inside(source, source / name)
            if (source / name).stat().st_size > _MAX_COPIED_BYTES:
                raise ModelFormatError(f"{source / name} is far too large.", field=name)
            shutil.copyfile(source / name, target / name)
    names = [WEIGHTS_NAME]
    if len(pickles) > 1:
        names = [f"model-{i:05d}-of-{len(pickles):05d}.safetensors" for i in range(1, len(pickles) + 1)]
    for pickle, name in zip(pickles, names, strict=True):
        _convert(pickle, target / name)
    if len(pickles) > 1:
        _write_index(target, names)
    if family == "gpt2":
        ModelFolder.open(target, revision="unread")
    return str(family)


def _convert(pickle: Path, target: Path) -> None:
    if not pickle.is_file():
        raise ModelFormatError(f"{pickle} is missing, but its index names it.", field=pickle.name)
    command = [sys.executable, "-I", "-m", "gpt2svc.convert.pickle_child", str(pickle.absolute()), str(target)]
    try:
        ended = subprocess.run(  # noqa: S603 - our own module, by this interpreter
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnsafeModelError(f"{pickle.name} was not converted: it took too long.", field=pickle.name) from None
    result = _last_line(ended.stdout) if ended.returncode == 0 else None
    if result is None:
        last = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        raise UnsafeModelError(
            f"{pickle.name} was not converted: its reader gave up ({last[:200]}).", field=pickle.name
        )
    if result.get("problem") is not None:
        raise UnsafeModelError(f"{pickle.name} was not converted: {result['problem']}.", field=pickle.name)
    read_safetensors_header(target)


def _last_line(output: str) -> dict[str, Any] | None:
    try:
        value = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return value if isinstance(value, dict) else None


def _write_index(target: Path, names: list[str]) -> None:
    weight_map = {entry.name: name for name in names for entry in read_safetensors_header(target / name)}
    total = sum((target / name).stat().st_size for name in names)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (target / INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
