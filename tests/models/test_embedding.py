import torch

from gpt2svc.models.embedding import Int8Embedding, PlainEmbedding
from gpt2svc.models.row_quantization import quantize_rows


def test_rows_come_by_number() -> None:
    weight = torch.randn(10, 4)
    assert torch.equal(PlainEmbedding(weight)(torch.tensor([3, 3, 9])), weight[[3, 3, 9]])


def test_int8_rows_are_the_rounded_ones_in_a_quarter_of_the_memory() -> None:
    torch.manual_seed(0)
    weight = torch.randn(100, 256)
    values, scales = quantize_rows(weight)
    embedding = Int8Embedding(weight, torch.float32)
    assert torch.equal(embedding(torch.tensor([7, 99])), values[[7, 99]] * scales[[7, 99]].unsqueeze(1))
    assert embedding.num_bytes < 0.26 * weight.nbytes
    assert Int8Embedding(weight, torch.bfloat16)(torch.tensor([1])).dtype == torch.bfloat16
