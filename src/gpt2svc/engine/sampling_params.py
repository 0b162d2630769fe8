"""How the tokens of one sequence are chosen. Torch-free: it crosses to the worker process."""

from dataclasses import dataclass
from typing import Final, Literal

EarlyStopping = bool | Literal["never"]


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Settings of one sequence, already validated; the neutral value of each filter switches it off.

    The order in which they act is that of transformers' `generate`: logit bias, repetition penalty, presence and
    frequency penalties, no_repeat_ngram_size, min_new_tokens, temperature, top-k, top-p, min-p, typical-p.

    With `num_beams` above 1 nothing is drawn: the likeliest continuations are searched for (engine/beam_search.py).
    Then seed, temperature, top-k, top-p, min-p and typical-p play no part; the others act on log-probabilities.
    """

    seed: int  # with the position it fixes each random draw: see engine/randomness.py
    max_new_tokens: int = 100
    min_new_tokens: int = 0  # stop tokens can't be sampled before this many
    temperature: float = 0.7  # 0 = greedy
    top_k: int = 50  # 0 = off
    top_p: float = 0.9  # 1 = off
    min_p: float = 0.0  # 0 = off
    typical_p: float = 1.0  # 1 = off
    repetition_penalty: float = 1.2  # over prompt and reply, as in transformers; 1 = off
    presence_penalty: float = 0.0  # over the reply only, as in OpenAI's API
    frequency_penalty: float = 0.0
    no_repeat_ngram_size: int = 0  # over prompt and reply, as in transformers; 0 = off
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token id, added to its logit)
    stop_token_ids: tuple[int, ...] = ()  # end the sequence; the caller puts the model's end-of-text token here
    logprobs: int | None = None  # None: none; n: the chosen token's log-probability and the n likeliest
    num_beams: int = 1  # 1: no beam search
    num_beam_groups: int = 1  # a divisor of num_beams; above 1: diverse beam search
    diversity_penalty: float = 0.0  # needs groups
    length_penalty: float = 1.0  # score = sum / length ** length_penalty, of negative sums: above 0 favours long beams
    early_stopping: EarlyStopping = False  # True: stop at num_beams finished ones; "never": not before none can improve
    num_return_sequences: int = 1  # of the beams, at most num_beams

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0

    @property
    def is_beam_search(self) -> bool:
        return self.num_beams > 1


# Of a request that is only read: scored or pooled.
NO_TOKENS: Final = SamplingParams(seed=0, max_new_tokens=0)
