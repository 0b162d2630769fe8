"""The likeliest tokens of each row, in a fixed order, without sorting the vocabulary."""

from typing import Final

import torch
from torch import Tensor

_BLOCK: Final = 32
_LARGEST_ID: Final = 0xFFFFFFFF


def top_candidates(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of float32 logits (rows, vocab_size): values and token ids, (rows, count) each.

    Ordered by value descending, then id ascending. Each token with a value above a row's last one is there; of those
    equal to the last one, any may be missing.
    """
    rows, vocab_size = logits.shape
    num_blocks = vocab_size // _BLOCK
    if logits.device.type != "cpu" or 4 * count > num_blocks:
        values, token_ids = logits.topk(min(count, vocab_size), sorted=False)
        return ordered(values, token_ids)
    # The largest tokens are in the blocks with the largest maxima, and finding those is one pass at memory speed.
    size = num_blocks * _BLOCK
    blocks = logits[:, :size].view(-1, num_blocks, _BLOCK)
    chosen = blocks.amax(-1).topk(count, sorted=False).indices  # (rows, count)
    token_ids = (chosen.unsqueeze(2) * _BLOCK + torch.arange(_BLOCK, device=logits.device)).view(rows, -1)
    if size < vocab_size:
        rest = torch.arange(size, vocab_size, device=logits.device).expand(rows, -1)
        token_ids = torch.cat((token_ids, rest), 1)
    values, places = logits.gather(1, token_ids).topk(count, sorted=False)
    return ordered(values, token_ids.gather(1, places))


def largest(logits: Tensor) -> Tensor:
    """The likeliest token of each row, the lowest id among equals: (rows, vocab_size) to (rows,)."""
    vocab_size = logits.shape[1]
    num_blocks = vocab_size // _BLOCK
    if logits.device.type != "cpu" or vocab_size % _BLOCK or num_blocks < _BLOCK:
        return logits.argmax(-1)
    blocks = logits.view(-1, num_blocks, _BLOCK)
    chosen = blocks.amax(-1).argmax(-1)  # argmax is not vectorised: let it see a number a block
    inside = blocks[torch.arange(len(chosen), device=logits.device), chosen].argmax(-1)
    best: Tensor = chosen * _BLOCK + inside
    return best


def ordered(values: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Both (rows, count), sorted by value descending, then id ascending."""
    # A float's bits, sign aside, sort as the float does; the id below them settles ties.
    bits = (values + 0.0).view(torch.int32)  # + 0.0: -0.0 has bits of its own
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    keys = (bits.long() << 32) + (_LARGEST_ID - token_ids)
    keys, places = keys.sort(dim=-1, descending=True)
    return values.gather(1, places), token_ids.gather(1, places)
