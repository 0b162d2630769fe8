"""What every layer with quantised weights promises: a row's bits do not depend on the rows beside it."""

import torch

from gpt2svc.models.linear import Linear


def check_rows_alone_and_in_batches(layer: Linear, *, num_in: int, num_out: int) -> None:
    x, residual = torch.randn(256, num_in), torch.randn(256, num_out)
    rows = torch.cat([layer(row) for row in x.split(1)])
    added = torch.cat([layer.added_to(residual[i : i + 1], x[i : i + 1]) for i in range(256)])
    for num_rows in (2, 3, 4, 8, 32, 48, 128, 256):
        assert torch.equal(layer(x[:num_rows]), rows[:num_rows])
        assert torch.equal(layer.added_to(residual[:num_rows], x[:num_rows]), added[:num_rows])
