"""What processors can do, in levels: each has a library of its own. Standard library only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_AVX512: Final = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})


@dataclass(frozen=True, slots=True)
class Level:
    name: str
    flags: frozenset[str]  # of the processor, in Linux's words
    options: tuple[str, ...]  # of the compiler

    @property
    def library_name(self) -> str:
        return f"libgpt2_{self.name}.so"


# Best first.
LEVELS: Final = (
    Level(
        "avx512_bf16",
        _AVX512 | {"avx512_vnni", "avx512_bf16"},
        ("-march=x86-64-v4", "-mavx512vnni", "-mavx512bf16"),
    ),
    Level("avx512_vnni", _AVX512 | {"avx512_vnni"}, ("-march=x86-64-v4", "-mavx512vnni")),
    Level("avx512", _AVX512, ("-march=x86-64-v4",)),
    Level("avx2", frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "abm"}), ("-march=x86-64-v3",)),
)


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor can do; empty where the system doesn't tell."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def levels_of(flags: frozenset[str]) -> list[Level]:
    """Those that a processor with these flags can run, best first."""
    return [level for level in LEVELS if level.flags <= flags]
