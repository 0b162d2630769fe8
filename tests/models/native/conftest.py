"""Kernels compiled for these tests: for the best level of this processor, and for a plain one."""

from pathlib import Path

import pytest

from gpt2svc.models.native.build import build, compiler
from gpt2svc.models.native.levels import LEVELS, levels_of, processor_flags
from gpt2svc.models.native.library import NativeLibrary


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NativeLibrary]:
    """By level: the best one that this processor has, and the most modest one."""
    runnable = levels_of(processor_flags())
    if compiler() is None or not runnable:
        pytest.skip("no C compiler here, or a processor that the kernels don't know")
    wanted = {runnable[0].name, LEVELS[-1].name}
    levels = [level for level in LEVELS if level.name in wanted]
    files = build(tmp_path_factory.mktemp("kernels"), levels)
    return {level.name: NativeLibrary(Path(file)) for level, file in zip(levels, files, strict=True)}


@pytest.fixture(scope="session")
def library(libraries: dict[str, NativeLibrary]) -> NativeLibrary:
    """The best."""
    return next(iter(libraries.values()))
