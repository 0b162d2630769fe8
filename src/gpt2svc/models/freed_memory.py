"""Memory that is no longer used goes back to the operating system."""

import ctypes
import sys


def return_freed_memory() -> None:
    """The C library keeps what was freed for later: after loading a model that is up to its size, and for nothing.

    Only glibc has a call for it; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
