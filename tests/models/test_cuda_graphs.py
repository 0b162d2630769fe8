import pytest
import torch

from gpt2svc.models.cuda_graphs import CudaGraphs
from gpt2svc.models.graph_runner import GraphRunner

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")


def test_replays_read_what_is_new_in_the_same_memory() -> None:
    device = torch.device("cuda", 0)
    x, y = torch.zeros(8, device=device), torch.zeros(8, device=device)
    runner = GraphRunner(CudaGraphs(device))

    def square() -> None:
        y.copy_(x * x)

    for value in range(5):
        x.fill_(value)
        runner.run("square", square)
        assert y.tolist() == [value * value] * 8


def test_function_that_waits_for_the_gpu_goes_on_without_a_graph() -> None:
    device = torch.device("cuda", 0)
    x, found = torch.ones(8, device=device), []
    runner = GraphRunner(CudaGraphs(device))
    for _ in range(3):
        runner.run("sum", lambda: found.append(x.sum().item()))
    assert found == [8.0] * 3
    assert torch.cuda.current_stream(device) == torch.cuda.default_stream(device)
