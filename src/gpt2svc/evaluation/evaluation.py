"""evaluate: a model folder on a file of examples, every measure that the rows allow."""

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.device import resolve_device, resolve_dtype, set_num_threads
from gpt2svc.errors import InvalidInputError
from gpt2svc.evaluation.bleu import corpus_bleu, is_bleu_available
from gpt2svc.evaluation.completions import write_completions
from gpt2svc.evaluation.examples import Example, read_examples
from gpt2svc.evaluation.likelihood import Likelihood, encode_example, measure_likelihood
from gpt2svc.evaluation.report import EvaluationReport
from gpt2svc.evaluation.rouge import corpus_rouge
from gpt2svc.evaluation.scorer import Scorer
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2

ProgressCallback = Callable[[str, int, int], None]  # stage, done, in all

_NUM_SEQUENCES: Final = 16  # completions written side by side
_MAX_NEW_TOKENS: Final = 128


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """None stands for: the model's window, half of that as stride, 128 new tokens but at most half of the window.

    With 0 for `max_new_tokens` no completions are written.
    """

    device: str = "auto"
    dtype: str = "auto"
    window: int | None = None
    stride: int | None = None
    max_new_tokens: int | None = None
    stop: tuple[str, ...] = ()


def evaluate(
    folder: ModelFolder, data: Path, options: EvaluationOptions, on_progress: ProgressCallback | None = None
) -> EvaluationReport:
    """Raises InvalidInputError for options and rows that can't be used (CorpusError with all bad lines), ModelError."""
    window, stride, max_new_tokens = _limits(options, folder.config.n_positions)
    examples = read_examples(data)
    tokenizer = folder.load_tokenizer()
    end_token_id = tokenizer.eos_token_id
    if end_token_id is not None and end_token_id >= folder.config.vocab_size:
        end_token_id = None  # a token that the model has no row for
    device = resolve_device(options.device)
    dtype = resolve_dtype(options.dtype, device)
    if device.type == "cpu":
        set_num_threads(None)
    model = GPT2.from_folder(folder, device, dtype)

    def report_to(stage: str) -> Callable[[int, int], None] | None:
        return None if on_progress is None else lambda done, total: on_progress(stage, done, total)

    encoded = [encode_example(example, tokenizer, end_token_id) for example in examples.examples]
    likelihood = measure_likelihood(
        Scorer(model), encoded, window=window, stride=stride, on_progress=report_to("scoring")
    )
    metrics = _likelihood_metrics(likelihood)
    settings: dict[str, Any] = {
        "window": window,
        "stride": stride,
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
    }
    num_cut = 0
    compared = examples.completions if max_new_tokens else ()
    if compared:
        written = write_completions(
            EngineCore(model, EngineConfig(max_num_seqs=_NUM_SEQUENCES)),
            tokenizer,
            [example.prompt or "" for example in compared],
            max_new_tokens=max_new_tokens,
            n_positions=folder.config.n_positions,
            end_token_id=end_token_id,
            stop=options.stop,
            on_progress=report_to("writing"),
        )
        num_cut = written.num_cut_prompts
        settings |= {"max_new_tokens": max_new_tokens, "stop": list(options.stop)}
        settings |= _compare_texts(written.texts, compared, metrics)
    return EvaluationReport(
        id=f"eval_{secrets.token_hex(6)}",
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model=folder.name,
        model_revision=folder.revision,
        data=str(data),
        data_sha256=examples.digest,
        num_examples=len(examples.examples),
        num_completions=len(compared),
        num_cut_prompts=num_cut,
        num_tokens=likelihood.num_tokens,
        num_bytes=likelihood.num_bytes,
        num_words=likelihood.num_words,
        metrics=metrics,
        settings=settings,
    )


def _limits(options: EvaluationOptions, n_positions: int) -> tuple[int, int, int]:
    """Window, stride and max_new_tokens."""
    window = n_positions if options.window is None else options.window
    if not 2 <= window <= n_positions:
        raise InvalidInputError(f"window must be 2 to the model's {n_positions}, not {window}.", field="window")
    stride = max(window // 2, 1) if options.stride is None else options.stride
    if not 1 <= stride <= window:
        raise InvalidInputError(f"stride must be 1 to the window's {window}, not {stride}.", field="stride")
    max_new_tokens = (
        min(_MAX_NEW_TOKENS, n_positions // 2) if options.max_new_tokens is None else options.max_new_tokens
    )
    if not 0 <= max_new_tokens < n_positions:
        raise InvalidInputError(
            f"max_new_tokens must be 0 to {n_positions - 1}: the model's window has {n_positions} tokens, and the "
            "prompt needs one.",
            field="max_new_tokens",
        )
    return window, stride, max_new_tokens


def _likelihood_metrics(likelihood: Likelihood) -> dict[str, float]:
    measured = {
        "perplexity": likelihood.perplexity,
        "bits_per_byte": likelihood.bits_per_byte,
        "word_perplexity": likelihood.word_perplexity,
        "loss": likelihood.loss,
        "accuracy": likelihood.accuracy,
    }
    return {name: value for name, value in measured.items() if value is not None and math.isfinite(value)}


def _compare_texts(written: Sequence[str], examples: Sequence[Example], metrics: dict[str, float]) -> dict[str, Any]:
    """Adds to `metrics`; returns what else is worth keeping. White space round a text counts for nothing."""
    hypotheses = [text.strip() for text in written]
    references = [example.text.strip() for example in examples]
    settings = {}
    if is_bleu_available():
        bleu = corpus_bleu(hypotheses, references)
        metrics["bleu"] = bleu.score
        settings["bleu_signature"] = bleu.signature
    rouge = corpus_rouge(hypotheses, references)
    metrics |= {"rouge1": rouge.rouge1, "rouge2": rouge.rouge2, "rougeL": rouge.rouge_l}
    metrics["exact_match"] = sum(map(str.__eq__, hypotheses, references)) / len(references)
    return settings
