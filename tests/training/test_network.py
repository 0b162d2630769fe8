import torch
from torch.nn import functional

from gpt2svc.training.chunked_loss import IGNORED_TARGET, chunked_cross_entropy
from gpt2svc.training.network import TrainableGpt2
from gpt2svc.training.shape import ModelShape

SHAPE = ModelShape(vocab_size=50, n_positions=32, n_embd=24, n_layer=2, n_head=3)


def model() -> TrainableGpt2:
    torch.manual_seed(1)
    network = TrainableGpt2(SHAPE)
    with torch.no_grad():  # biases and norms too, so that a swapped name shows
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def stream(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    return torch.randint(0, 50, (sum(lengths),)), torch.cat([torch.arange(length) for length in lengths])


def test_logits_of_packed_documents_equal_transformers_on_each_alone() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    ours = model()
    config = GPT2Config(vocab_size=50, n_positions=32, n_embd=24, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0)
    theirs = GPT2LMHeadModel(config).eval()
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    theirs.tie_weights()
    lengths = [7, 1, 32, 12]
    token_ids, position_ids = stream(lengths)
    with torch.no_grad():
        packed = ours(token_ids, position_ids, lengths)
        alone = torch.cat([theirs(part.unsqueeze(0)).logits[0] for part in token_ids.split(lengths)])
    torch.testing.assert_close(packed, alone, atol=2e-5, rtol=1e-4)


def test_a_document_does_not_see_its_neighbours_in_the_stream() -> None:
    ours = model()
    token_ids, position_ids = stream([5, 6])
    changed = token_ids.clone()
    changed[:5] = (changed[:5] + 1) % 50
    with torch.no_grad():
        before, after = ours(token_ids, position_ids, [5, 6]), ours(changed, position_ids, [5, 6])
    assert torch.equal(before[5:], after[5:])
    assert not torch.equal(before[:5], after[:5])


def test_the_packed_loss_is_the_sum_of_the_documents_losses() -> None:
    ours = model()
    token_ids, position_ids = stream([5, 9, 3])
    targets = token_ids.roll(-1)
    packed = ours.loss(token_ids, position_ids, targets, [5, 9, 3])
    parts = zip(token_ids.split([5, 9, 3]), targets.split([5, 9, 3]), strict=True)
    alone = sum(ours.loss(ids, torch.arange(len(ids)), wanted, [len(ids)]) for ids, wanted in parts)
    torch.testing.assert_close(packed, alone)


def test_the_chunked_loss_and_its_gradients_equal_the_plain_ones() -> None:
    torch.manual_seed(3)
    hidden = torch.randn(600, 16, requires_grad=True)
    weight = torch.randn(50, 16, requires_grad=True)
    targets = torch.randint(0, 50, (600,))
    targets[::7] = IGNORED_TARGET
    plain = functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    expected = torch.autograd.grad(plain * 0.5, (hidden, weight))
    chunked = chunked_cross_entropy(hidden, weight, targets)
    found = torch.autograd.grad(chunked * 0.5, (hidden, weight))
    torch.testing.assert_close(chunked, plain)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(chunked_cross_entropy(hidden, weight, targets), plain)
