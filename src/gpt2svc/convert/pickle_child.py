"""The process that reads one pickle file, with nothing to lose: `python -I -m gpt2svc.convert.pickle_child IN OUT`.

It reads with torch's restricted unpickler, which knows tensors and plain containers only, under limits on memory, time
and what it may write, and leaves safetensors. Its last line of output is a JSON object: `problem`, or null.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file

_GIGABYTE: Final = 1 << 30
# Causal masks that old releases of transformers saved along.
_BUFFER: Final = re.compile(r"(.*\.)?h\.\d+\.attn\.(bias|masked_bias)")
_DTYPES: Final = (torch.float32, torch.float16, torch.bfloat16)


def main(source: Path, target: Path) -> str | None:
    """What is wrong, for people, or None."""
    _limit_resources(source.stat().st_size)
    torch.set_num_threads(1)
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except MemoryError:
        return "it needs more memory than a file of its size should"
    except Exception as error:  # an unpickler fails in many ways, and none of them is ours
        return f"it holds something other than tensors, or is damaged ({type(error).__name__})"
    if not isinstance(loaded, dict) or not loaded:
        return "it is not a state dict"
    tensors: dict[str, torch.Tensor] = {}
    seen: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            return "it is not a plain state dict (save model.state_dict(), not the model or a training checkpoint)"
        if _BUFFER.fullmatch(name):
            continue
        if tensor.dtype not in _DTYPES or tensor.layout != torch.strided:
            return f"{name[:100]!r} is not made of float32, float16 or bfloat16 numbers"
        place = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() and place in seen:
            # One tensor under two names: tied weights, which transformers keeps once, under the first one's name.
            if not name.endswith("lm_head.weight"):
                return f"{name[:100]!r} and {seen[place][:100]!r} are one tensor"
            continue
        seen[place] = name
        tensors[name] = tensor.contiguous()
    save_file(tensors, target, metadata={"format": "pt"})
    return None


def _limit_resources(file_size: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits; the restricted unpickler still holds
        return
    limits = {
        resource.RLIMIT_CPU: 300 + file_size // (10 << 20),
        resource.RLIMIT_FSIZE: 2 * file_size + (16 << 20),
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    statm = Path("/proc/self/statm")
    if statm.exists():  # on top of what torch itself has reserved by now
        limits[resource.RLIMIT_AS] = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGESIZE") + (
            3 * file_size + _GIGABYTE
        )
    for limit, value in limits.items():
        _, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"problem": main(Path(sys.argv[1]), Path(sys.argv[2]))}) + "\n")
