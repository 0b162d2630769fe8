"""What goes into the engine and what comes out. Torch-free: these cross to the worker process and back."""

from dataclasses import dataclass
from typing import Final, Literal

from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.models.quantization import Quantization
from gpt2svc.models.task_head import Task

FinishReason = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One sequence to continue.

    `prompt_token_ids` holds 1 to `n_positions - 1` ids; prompt and `params.max_new_tokens` together fit the window.
    `owner` bounds prefix reuse: a cached prefix is only ever shared within one owner.

    The last `num_reply_tokens` of the prompt are the beginning of a reply that is continued: they count as its tokens,
    so the new ones are those which the reply would have had without the cut.
    """

    request_id: str
    prompt_token_ids: tuple[int, ...]
    params: SamplingParams
    owner: str = ""
    num_reply_tokens: int = 0
    scoring: "Scoring | None" = None
    pooling: "Pooling | None" = None


@dataclass(frozen=True, slots=True)
class Scoring:
    """What is to be told of the prompt itself; with `max_new_tokens` 0, instead of continuing it.

    Such a request may fill the window. The prompt's tokens from position `start` (1 or more: nothing predicts the first
    one) are scored, each given all before it, with the `num_top` (at most 100) likeliest tokens at its place; a `start`
    of the prompt's length scores none. Of the next token the `num_next` likeliest are told, where it is not None, and
    with `has_distribution` the log-probabilities of the whole vocabulary.
    """

    start: int = 1
    num_top: int = 0
    num_next: int | None = None
    has_distribution: bool = False


@dataclass(frozen=True, slots=True)
class Pooling:
    """One vector for the whole prompt instead of a continuation, with `max_new_tokens` 0; it may fill the window.

    Of the last hidden states, after the final norm: the "mean" over all tokens, or that of the "last" token. With
    `has_head` that goes through the head of the model's task, and the vector is what comes out: scores.
    """

    kind: Literal["mean", "last"] = "mean"
    has_head: bool = False


THROUGH_HEAD: Final = Pooling("last", has_head=True)


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Natural logarithms of the model's own distribution, before any penalty, temperature or filter."""

    logprob: float  # of the chosen token
    top: tuple[tuple[int, float], ...]  # (token id, log-probability), likeliest first


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One finished result of a beam search. A stop token that ended it is its last."""

    token_ids: tuple[int, ...]
    score: float  # sum of the log-probabilities after penalties, divided by length ** length_penalty
    finish_reason: Literal["stop", "length"]
    logprobs: tuple[TokenLogprobs, ...] | None = None


@dataclass(frozen=True, slots=True)
class NextToken:
    """The model's own distribution after a prompt: natural logarithms."""

    top: tuple[tuple[int, float], ...]  # (token id, log-probability), likeliest first
    entropy: float  # of the whole distribution, in nats
    log_normalizer: float  # a token's logit is its log-probability plus this
    distribution: bytes | None = None  # vocab_size log-probabilities, float32, little-endian


@dataclass(frozen=True, slots=True)
class TokenOutput:
    """What one step brought for one request. The last one of a request, and only that, has a `finish_reason`.

    `token_ids` may be empty (an abort, an error) or hold several ids. A stop token that ended the sequence is its
    last id. `num_cached_tokens` is how much of the prompt came from a reused prefix.

    Of a prompt that is scored, the scores come first, in pieces and in order, and `next_token` with the last of them.
    With beam search the tokens are those that the whole search agrees on, at the end the rest of the best hypothesis;
    the last output brings the `num_return_sequences` best `hypotheses`, best first.
    That of a prompt that is pooled brings `pooled`, float32 in little-endian order: n_embd numbers, or the head's.
    """

    request_id: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] | None = None
    finish_reason: FinishReason | None = None
    error: str | None = None  # with finish_reason "error": for people
    num_cached_tokens: int = 0
    prompt_logprobs: tuple[TokenLogprobs, ...] | None = None
    next_token: NextToken | None = None
    pooled: bytes | None = None
    hypotheses: tuple[Hypothesis, ...] | None = None


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A snapshot, sent along with each step's outputs."""

    num_running: int = 0
    num_waiting: int = 0
    num_free_slots: int = 0
    num_slots: int = 0
    num_generated_tokens: int = 0  # since start
    num_steps: int = 0  # since start
    num_admitted: int = 0  # requests that have got a slot, since start
    queued_s: float = 0.0  # seconds that they waited for it, all together


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A loaded model, as the worker reports it."""

    name: str  # as asked for: "starter", a hub name, a folder
    revision: str  # content hash of the weights (first 12 hex digits of SHA-256) or the hub commit
    architecture: str  # "gpt2" or "openai-gpt"
    device: str  # "cpu", "cuda:0", "mps"
    dtype: str  # "float32", "bfloat16", "float16"
    num_parameters: int
    n_positions: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    num_slots: int
    eos_token_id: int | None
    memory_bytes: int = 0  # weights and KV cache
    quantize: Quantization = "none"  # how few bits the weights have; `revision` says it too
    task: Task = "text"
