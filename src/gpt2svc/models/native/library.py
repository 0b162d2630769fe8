"""NativeLibrary: the compiled kernels of csrc/, where they were built for a processor like this one."""

import ctypes
import logging
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from gpt2svc.errors import EngineError
from gpt2svc.models.native.faults import fault_message
from gpt2svc.models.native.levels import levels_of, processor_flags
from gpt2svc.models.native.structures import INTERFACE, BatchStruct, CacheStruct, FaultStruct, ModelStruct

FOLDER: Final = Path(__file__).parent

_log = logging.getLogger(__name__)

_INT8: Final = 1
_BFLOAT16: Final = 2


class NativeLibrary:
    """One shared library and the threads that run it."""

    def __init__(self, file: Path) -> None:
        """Raises OSError where `file` is not a library that this system can load, or is of another release."""
        self.file = file
        self._library = ctypes.CDLL(str(file))
        interface = getattr(self._library, "gpt2_interface", None)
        if interface is None or interface() != INTERFACE:
            raise OSError(f"{file} was compiled from other sources: run python -m gpt2svc.models.native.build.")
        self._library.gpt2_runtime_new.restype = ctypes.c_void_p
        self._library.gpt2_runtime_new.argtypes = [ctypes.c_int]
        self._library.gpt2_runtime_free.restype = None
        self._library.gpt2_runtime_free.argtypes = [ctypes.c_void_p]
        self._library.gpt2_forward.argtypes = [
            ctypes.c_void_p,
            ctypes.POINTER(ModelStruct),
            ctypes.POINTER(CacheStruct),
            ctypes.POINTER(BatchStruct),
            ctypes.POINTER(FaultStruct),
        ]

    @classmethod
    def find(cls, folder: Path = FOLDER) -> Self | None:
        """The best library in `folder` for this processor; None without one."""
        for level in levels_of(processor_flags()):
            file = folder / level.library_name
            if file.is_file():
                try:
                    return cls(file)
                except OSError as error:  # built for another C library, or from older sources
                    _log.warning("Kernels left aside: %s", error)
        return None

    @cached_property
    def has_int8(self) -> bool:
        """Whether int8 pays: where the processor sums products of bytes in one instruction, and with AVX2 alone."""
        return bool(self._features & _INT8)

    @cached_property
    def has_bfloat16(self) -> bool:
        return bool(self._features & _BFLOAT16)

    @property
    def _features(self) -> int:
        features: int = self._library.gpt2_features()
        return features

    def new_runtime(self, num_threads: int) -> "NativeRuntime":
        """Raises EngineError where the threads can't be had."""
        handle = self._library.gpt2_runtime_new(num_threads)
        if not handle:
            raise EngineError(f"The system gave no {num_threads} threads to the engine.")
        return NativeRuntime(self._library, handle)


class NativeRuntime:
    """Threads, asleep between two calls, and buffers."""

    def __init__(self, library: ctypes.CDLL, handle: int) -> None:
        self._library = library
        self._handle = handle

    def forward(self, model: ModelStruct, cache: CacheStruct, batch: BatchStruct) -> None:
        """Raises EngineError, and leaves the cache as it was, where a number of the batch is out of range or memory is
        missing."""
        fault = FaultStruct()
        if self._library.gpt2_forward(
            self._handle, ctypes.byref(model), ctypes.byref(cache), ctypes.byref(batch), ctypes.byref(fault)
        ):
            raise EngineError(fault_message(fault))

    def __del__(self) -> None:
        self._library.gpt2_runtime_free(self._handle)
