"""Packed weights, read back as csrc/matmul.h lays them out."""

import ctypes

import numpy as np
import pytest
import torch

from gpt2svc.errors import ModelFormatError
from gpt2svc.models.group_quantization import GROUP_SIZE, Groups, quantize_groups, restored
from gpt2svc.models.native.packing import PackedWeights
from gpt2svc.models.native.structures import Kind

LANES, BLOCK_BYTES = 16, 320


def unpacked_int4(packed: PackedWeights) -> np.ndarray:
    """(out, in rounded up to whole groups), float32."""
    num_groups = packed.struct.num_in // GROUP_SIZE
    num_out = -(-packed.struct.num_out // 32) * 32
    content = ctypes.string_at(packed.struct.panels, num_out // LANES * num_groups * BLOCK_BYTES)
    weights = np.zeros((num_out, packed.struct.num_in), np.float32)
    for half in range(num_out // LANES):
        for group in range(num_groups):
            block = content[(half * num_groups + group) * BLOCK_BYTES :][:BLOCK_BYTES]
            facts = np.frombuffer(block[256:], np.uint16).astype(np.uint32) << 16
            steps, middles = facts.view(np.float32).reshape(2, LANES)
            for lane in range(LANES):
                for i in range(GROUP_SIZE):
                    byte = block[i // 8 * 64 + lane * 4 + i % 4]
                    integer = (byte >> 4) if i % 8 >= 4 else byte & 15
                    at = (half * LANES + lane, group * GROUP_SIZE + i)
                    weights[at] = (integer - 8) * steps[lane] + middles[lane]
    return weights


@pytest.mark.parametrize(("num_out", "num_in"), [(32, 32), (50, 80)])
def test_int4_panels_hold_the_groups_and_zeros_behind(num_out: int, num_in: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(num_out, num_in)
    groups = quantize_groups(weight, torch.bfloat16)
    expected = restored(Groups(groups.integers, groups.steps.float(), groups.middles.float()))
    weights = torch.from_numpy(unpacked_int4(PackedWeights(weight, None, Kind.INT4)))
    torch.testing.assert_close(weights[:num_out], expected, rtol=1e-6, atol=1e-6)
    assert not weights[num_out:].any()


def test_int4_takes_five_bits_a_weight_with_its_groups() -> None:
    weight = torch.randn(96, 256)
    assert PackedWeights(weight, None, Kind.INT4).num_bytes * 8 == 5 * weight.numel()


@pytest.mark.parametrize("kind", [Kind.INT8, Kind.INT4])
def test_weights_that_are_no_numbers_are_refused(kind: Kind) -> None:
    weight = torch.ones(32, 32)
    weight[3, 4] = torch.inf
    with pytest.raises(ModelFormatError, match="can't be quantised"):
        PackedWeights(weight, None, kind)
