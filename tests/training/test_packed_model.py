import copy

import pytest
import torch
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

from gpt2svc.training.chunked_loss import IGNORED_TARGET, chunked_cross_entropy
from gpt2svc.training.packed_attention import NAME
from gpt2svc.training.packed_model import PackedGpt2

LENGTHS = [7, 1, 200, 12, 33, 129, 16]  # attended together and alone, and exactly at the border of a group


@pytest.fixture(scope="module")
def theirs() -> GPT2LMHeadModel:
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=50, n_positions=256, n_embd=24, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with torch.no_grad():  # biases and norms too, so that a swapped name shows
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.fixture(scope="module")
def ours(theirs: GPT2LMHeadModel) -> PackedGpt2:
    PackedGpt2.register_attention()
    config = copy.deepcopy(theirs.config)
    config._attn_implementation = NAME
    model = PackedGpt2(config)
    model.load_state_dict(theirs.state_dict())
    return model


def stream(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    ids = torch.randint(0, 50, (1, sum(lengths)))
    return ids, torch.cat([torch.arange(length) for length in lengths])[None], ids.roll(-1)


@pytest.mark.parametrize("is_checkpointed", [False, True])
def test_packed_loss_and_gradients_equal_transformers_on_each_document_alone(
    theirs: GPT2LMHeadModel, ours: PackedGpt2, is_checkpointed: bool
) -> None:
    ids, positions, targets = stream(LENGTHS)
    parts = zip(ids[0].split(LENGTHS), targets[0].split(LENGTHS), strict=True)
    alone = sum(
        functional.cross_entropy(theirs(part[None]).logits[0], wanted, reduction="sum") for part, wanted in parts
    )
    theirs.zero_grad()
    alone.backward()
    ours.zero_grad()
    verb = "enable" if is_checkpointed else "disable"
    name = f"activation_checkpointing_{verb}"
    if not hasattr(ours, name):  # transformers 5.17
        name = f"gradient_checkpointing_{verb}"
    getattr(ours, name)()
    packed = ours.train()(ids, positions, LENGTHS, targets)
    packed.backward()
    torch.testing.assert_close(packed, alone)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=2e-4, rtol=1e-3)


def test_a_document_does_not_see_its_neighbours_in_the_stream(ours: PackedGpt2) -> None:
    ids, positions, _ = stream([5, 6])
    changed = ids.clone()
    changed[0, :5] = (changed[0, :5] + 1) % 50
    with torch.no_grad():
        before, after = (ours.eval().hidden_states(each, positions, [5, 6]) for each in (ids, changed))
    assert torch.equal(before[0, 5:], after[0, 5:])
    assert not torch.equal(before[0, :5], after[0, :5])


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
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(chunked_cross_entropy(hidden, weight, targets), plain)
