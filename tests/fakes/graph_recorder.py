"""A CUDA graph on the CPU: the operators of a function are noted with the tensors they were given."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, result))
        return result


class GraphRecorder:
    """As with a CUDA graph, a replay runs no Python of the function: it works on the memory that was recorded, however
    the world has changed since, and finds new numbers only where they were written to that memory.
    """

    def __init__(self, *, is_failing: bool = False) -> None:
        self.events: list[str] = []
        self._is_failing = is_failing

    def warm_up(self, function: Callable[[], None]) -> None:
        self.events.append("warm up")
        function()

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        self.events.append("record")
        if self._is_failing:
            raise RuntimeError("operation not permitted when stream is capturing")
        with _Tape() as tape:
            function()
        return lambda: self._replay(tape)

    def release(self) -> None:
        self.events.append("release")

    @torch.inference_mode()
    def _replay(self, tape: _Tape) -> None:
        self.events.append("replay")
        for function, args, kwargs, results in tape.calls:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)
