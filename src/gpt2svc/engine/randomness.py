"""Random draws as a pure function of (seed, position): no state, so nothing else that runs can change them. Torch-free.

    mix(z)            z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27; z *= 0x94D049BB133111EB; z ^= z >> 31
    uniform(seed, p)  mix(mix(seed) + (p + 1) * 0x9E3779B97F4A7C15) >> 11, divided by 2^53

All in 64-bit unsigned arithmetic: the SplitMix64 generator (Steele, Lea, Flood 2014) started at mix(seed), with its
p-th output taken directly. Seeds are hashed first because plain SplitMix64 streams of seeds that differ by a multiple
of the increment are the same stream, shifted.
"""

from typing import Final

_MASK: Final = 0xFFFFFFFFFFFFFFFF
_INCREMENT: Final = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1), a multiple of 2^-53, for the token at `position` (0 = the prompt's first) of a sequence.

    Seeds count modulo 2^64.
    """
    state = _mix(seed & _MASK) + (position + 1) * _INCREMENT
    return (_mix(state & _MASK) >> 11) * 2.0**-53


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
