"""CudaGraphs: records a function's kernels into CUDA graphs, which launch all of them at once."""

from collections.abc import Callable

import torch


class CudaGraphs:
    """All graphs of one device, warmed up and captured on one side stream, with one pool for what they compute between.

    They share the pool because they are replayed one after another: what a graph leaves must lie outside it, in memory
    that was there before.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, function: Callable[[], None]) -> None:
        # NOTE: on the capturing stream itself, since libraries set themselves up for each stream at their first use.
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                function()
            current.wait_stream(self._stream)

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # NOTE: the outer stream context brings the current stream back also where the end of a capture fails, when
        # torch.cuda.graph leaves its own on. Another thread's calls don't spoil a capture of this one.
        with (
            torch.cuda.device(self._device),
            torch.cuda.stream(torch.cuda.current_stream(self._device)),
            torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
        ):
            function()
        return graph.replay

    def release(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
