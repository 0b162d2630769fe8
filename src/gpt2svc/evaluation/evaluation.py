"""evaluate: a model folder on a file of examples, every measure that the rows allow."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.device import resolve_device, resolve_dtype, set_num_threads
from gpt2svc.engine.model import Model
from gpt2svc.errors import InvalidInputError
from gpt2svc.evaluation.completions import write_completions
from gpt2svc.evaluation.examples import ExampleFile, read_examples
from gpt2svc.evaluation.labelled import has_choices
from gpt2svc.evaluation.likelihood import encode_example, measure_likelihood
from gpt2svc.evaluation.report import EvaluationReport, new_report
from gpt2svc.evaluation.scorer import Scorer
from gpt2svc.evaluation.tasks import evaluate_choices, evaluate_labels
from gpt2svc.evaluation.text_measures import compare_texts, likelihood_measures
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.loading import load_model
from gpt2svc.models.native.library import NativeLibrary
from gpt2svc.models.quantization import Quantization, quantized_revision
from gpt2svc.models.task_head import ClassificationHead

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
    quantize: Quantization = "none"
    is_native_enabled: bool = True
    window: int | None = None
    stride: int | None = None
    max_new_tokens: int | None = None
    stop: tuple[str, ...] = ()


def evaluate(
    folder: ModelFolder, data: Path, options: EvaluationOptions, on_progress: ProgressCallback | None = None
) -> EvaluationReport:
    """Raises InvalidInputError for options and rows that can't be used (CorpusError with all bad lines), ModelError."""
    window, stride, max_new_tokens = _limits(options, folder.config.n_positions)
    head = folder.config.head
    is_choice, is_classification = has_choices(data), isinstance(head, ClassificationHead)
    examples = ExampleFile(data, (), "") if is_choice or is_classification else read_examples(data)
    tokenizer = folder.load_tokenizer()
    end_token_id = tokenizer.eos_token_id
    if end_token_id is not None and end_token_id >= folder.config.vocab_size:
        end_token_id = None  # a token that the model has no row for
    model, where = _load(folder, options)

    def report_to(stage: str) -> Callable[[int, int], None] | None:
        return None if on_progress is None else lambda done, total: on_progress(stage, done, total)

    core = EngineCore(model, EngineConfig(max_num_seqs=_NUM_SEQUENCES))
    if is_choice:
        return evaluate_choices(core, folder, data, where, report_to("choosing"))
    if isinstance(head, ClassificationHead):
        return evaluate_labels(core, folder, head, data, where, report_to("classifying"))
    encoded = [encode_example(example, tokenizer, end_token_id) for example in examples.examples]
    likelihood = measure_likelihood(
        Scorer(model), encoded, window=window, stride=stride, on_progress=report_to("scoring")
    )
    metrics = likelihood_measures(likelihood)
    settings: dict[str, Any] = {
        "window": window,
        "stride": stride,
        "scores_end_of_text": end_token_id is not None,
        **where,
    }
    num_cut = 0
    compared = examples.completions if max_new_tokens else ()
    if compared:
        written = write_completions(
            core,
            tokenizer,
            [example.prompt or "" for example in compared],
            max_new_tokens=max_new_tokens,
            n_positions=folder.config.n_positions,
            end_token_id=end_token_id,
            stop=options.stop,
            on_progress=report_to("writing"),
        )
        num_cut = written.num_cut_prompts
        measures, details = compare_texts(written.texts, compared)
        metrics |= measures
        settings |= {"max_new_tokens": max_new_tokens, "stop": list(options.stop), **details}
    return new_report(
        model=folder.name,
        model_revision=quantized_revision(folder.revision, options.quantize),
        file=examples,
        likelihood=likelihood,
        num_completions=len(compared),
        num_cut_prompts=num_cut,
        metrics=metrics,
        settings=settings,
    )


def _load(folder: ModelFolder, options: EvaluationOptions) -> tuple[Model, dict[str, str]]:
    """The model, and where it runs, for the report."""
    device = resolve_device(options.device)
    dtype = resolve_dtype(options.dtype, device, options.quantize)
    if device.type == "cpu":
        set_num_threads(None)
    library = NativeLibrary.find() if options.is_native_enabled else None
    model = load_model(folder, device, dtype, quantize=options.quantize, library=library)
    return model, {"device": str(device), "dtype": str(dtype).removeprefix("torch."), "quantize": options.quantize}


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
