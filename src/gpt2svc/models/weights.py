"""From the safetensors files of a model folder to tensors, one at a time."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from gpt2svc.errors import ModelFormatError
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.safetensors_header import TensorEntry

ProgressCallback = Callable[[str, float | None], None]  # stage, for people; percent, 0 to 100 where it is known

_DTYPES: Final = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_READ_BYTES: Final = 16 << 20


class WeightReader:
    """Reads the tensors of a folder by their canonical names (models/tensor_names.py).

    Holds nothing: a tensor lives as long as its caller keeps it, so loading takes the memory of the result and one
    tensor more. `progress` hears the percentage of all bytes read.
    """

    def __init__(self, folder: ModelFolder, progress: ProgressCallback | None = None) -> None:
        self._tensors = folder.tensors
        self._progress = progress
        self._num_bytes_read = 0
        self._num_bytes = sum(entry.num_bytes for entry in folder.tensors.values())

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def read(self, name: str) -> Tensor:
        """The tensor as the file has it, on the CPU. Raises ModelFormatError where the file has changed or gone."""
        entry = self._tensors[name]
        content = bytearray(entry.num_bytes)
        view = memoryview(content)
        position = 0
        try:
            with entry.file.open("rb", buffering=0) as file:
                file.seek(entry.offset)
                while position < entry.num_bytes:
                    count = file.readinto(view[position : position + _READ_BYTES])
                    if not count:
                        raise _damaged(entry, "ends too early")
                    position += count
                    self._num_bytes_read += count
                    self._report()
        except OSError as error:
            raise _damaged(entry, f"can't be read: {error.strerror or error}") from error
        return torch.frombuffer(content, dtype=_DTYPES[entry.dtype]).view(entry.shape)

    def _report(self) -> None:
        if self._progress is not None:
            self._progress("Reading weights", min(100.0, 100.0 * self._num_bytes_read / self._num_bytes))


def _damaged(entry: TensorEntry, problem: str) -> ModelFormatError:
    return ModelFormatError(f"{entry.file.name} {problem}.", field=entry.file.name)
