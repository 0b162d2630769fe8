"""Limits of an engine. Torch-free."""

from dataclasses import dataclass

from gpt2svc.errors import ConfigError


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Fixed when the engine is built; raises ConfigError for a limit below 1.

    `max_num_seqs` sequences run at once, each in a slot of the KV cache; slots of finished ones keep their keys and
    values as reusable prefixes until they are needed. A step computes at most `max_num_batched_tokens` rows: one for
    each running sequence first, the rest for the prompts' next chunks. A larger budget reads prompts a little faster,
    a smaller one keeps the other streams' tokens closer together: beside decoding sequences no more than
    `max_num_prompt_tokens_beside` of prompts are read in a step, so that none of them waits for long.
    """

    max_num_seqs: int = 32
    max_num_batched_tokens: int = 256
    max_num_prompt_tokens_beside: int = 96
    is_prefix_reuse_enabled: bool = True
    is_speculation_enabled: bool = True  # has an effect on the CPU only
    is_native_enabled: bool = True  # the kernels compiled for this CPU, where there are some
    num_threads: int | None = None  # None: chosen for the machine; CPU only

    def __post_init__(self) -> None:
        for name in ("max_num_seqs", "max_num_batched_tokens", "max_num_prompt_tokens_beside", "num_threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, not {value}.", field=name)
