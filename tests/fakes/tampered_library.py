"""TamperedLibrary: kernels whose next step gets one wrong number, as a bug above them would bring it."""

import ctypes
from collections.abc import Callable
from pathlib import Path

from gpt2svc.models.native.library import NativeLibrary, NativeRuntime
from gpt2svc.models.native.structures import BatchStruct, CacheStruct, ModelStruct

Tampering = Callable[[BatchStruct], None]


class TamperedLibrary(NativeLibrary):
    """What `tampering` does to a batch happens to the next one only."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.tampering: Tampering | None = None

    def new_runtime(self, num_threads: int) -> NativeRuntime:
        return _Runtime(self, super().new_runtime(num_threads))


class _Runtime(NativeRuntime):
    def __init__(self, tampered: TamperedLibrary, inner: NativeRuntime) -> None:
        self._tampered = tampered
        self._inner = inner

    def forward(self, model: ModelStruct, cache: CacheStruct, batch: BatchStruct) -> None:
        tampering, self._tampered.tampering = self._tampered.tampering, None
        if tampering is not None:
            tampering(batch)
        self._inner.forward(model, cache, batch)

    def __del__(self) -> None:
        """The inner one frees its threads."""


def setting(array: str, index: int, value: int) -> Tampering:
    """The `index`-th 32-bit number of an array of the batch."""

    def tamper(batch: BatchStruct) -> None:
        ctypes.c_int32.from_address(getattr(batch, array) + 4 * index).value = value

    return tamper


def counting(field: str, value: int) -> Tampering:
    """A count of the batch."""
    return lambda batch: setattr(batch, field, value)
