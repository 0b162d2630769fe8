"""The likeliest tokens of each row, in a fixed order, without sorting the vocabulary."""

from typing import Final

import torch
from torch import Tensor

_BLOCK: Final = 32
_LARGEST_ID: Final = 0xFFFFFFFF


def top_candidates(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` of float32 logits (rows, vocab_size), ordered by value descending, then id ascending.

    Values and token ids, (rows, count) each; all tokens where there are fewer.
    """
    rows, vocab_size = logits.shape
    num_blocks = vocab_size // _BLOCK
    if logits.device.type != "cpu" or 4 * count > num_blocks:
        token_ids = torch.arange(vocab_size, device=logits.device)
        return _first(logits, _keys(logits, token_ids), min(count, vocab_size))
    # The first tokens are in the blocks that come first by their maxima, and those take one pass at memory speed.
    size = num_blocks * _BLOCK
    maxima = logits[:, :size].view(rows, num_blocks, _BLOCK).amax(-1)
    chosen = _ids(_keys(maxima, torch.arange(num_blocks)).topk(count, sorted=False).values)  # (rows, count)
    token_ids = (chosen.unsqueeze(2) * _BLOCK + torch.arange(_BLOCK)).view(rows, -1)
    if size < vocab_size:
        token_ids = torch.cat((token_ids, torch.arange(size, vocab_size).expand(rows, -1)), 1)
    return _first(logits, _keys(logits.gather(1, token_ids), token_ids), count)


def largest(logits: Tensor) -> Tensor:
    """The likeliest token of each row, the lowest id among equals: (rows, vocab_size) to (rows,)."""
    rows, vocab_size = logits.shape
    num_blocks = vocab_size // _BLOCK
    if logits.device.type != "cpu" or vocab_size % _BLOCK or num_blocks < _BLOCK:
        return logits.argmax(-1)
    blocks = logits.view(rows, num_blocks, _BLOCK)
    chosen = blocks.amax(-1).argmax(-1)  # argmax is not vectorised: let it see a number a block
    best: Tensor = chosen * _BLOCK + blocks[torch.arange(rows), chosen].argmax(-1)
    return best


def ordered(values: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Both (rows, count), sorted by value descending, then id ascending."""
    places = _keys(values, token_ids).argsort(dim=-1, descending=True)
    return values.gather(1, places), token_ids.gather(1, places)


def _first(logits: Tensor, keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    token_ids = _ids(keys.topk(count).values)
    return logits.gather(1, token_ids), token_ids


def _keys(values: Tensor, ids: Tensor) -> Tensor:
    """Integers that sort as the values do, and by descending id where those are equal."""
    bits = (values + 0.0).view(torch.int32)  # + 0.0: -0.0 has bits of its own
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # two's complement from sign and magnitude
    return (bits.long() << 32) + (_LARGEST_ID - ids)


def _ids(keys: Tensor) -> Tensor:
    return _LARGEST_ID - (keys & _LARGEST_ID)
