"""Compiles the kernels of the CPU engine when the package is built or installed; without a compiler it does without."""

import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = "src"


class NativeBuildHook(BuildHookInterface[Any]):
    """A wheel gets kernels for every level of processor and its platform's tag; without them it is a pure one.

    An editable installation gets those for the processor at hand only.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, str(Path(self.root) / SOURCES))
        try:
            from gpt2svc.models.native.build import LEVELS, build, levels_here
        finally:
            sys.path.pop(0)
        files = build(levels=levels_here() if version == "editable" else LEVELS)
        if not files:
            self.app.display_warning("No kernels were compiled: the engine will go through torch.")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"] += [f"/{file.relative_to(self.root)}" for file in files]
