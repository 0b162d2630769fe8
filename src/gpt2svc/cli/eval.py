"""`gpt2svc eval`: how well a model knows a text, and how close what it writes comes to given answers."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt2svc.cli.flags import AsJson, Device, Dtype, Model, Quantize
from gpt2svc.cli.output import message, write, write_json, write_table
from gpt2svc.errors import InvalidInputError

if TYPE_CHECKING:
    from gpt2svc.config import Settings
    from gpt2svc.evaluation.history import EvaluationHistory
    from gpt2svc.evaluation.report import EvaluationReport

_DIGITS = 4
_MAX_SHOWN_LABELS = 16
_TASK_METRICS = ("label_accuracy", "macro_f1", "choice_accuracy")
_READ_TIMEOUT_S = 120.0  # the service may be busy with others' replies


def evaluate(
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='JSONL rows of {"text"}, {"messages"} or {"prompt", "completion"}; with "label" for a model that '
            'classifies; or {"prompt", "choices", "label"}.',
            show_default=False,
        ),
    ] = None,
    model: Model = None,
    url: Annotated[
        str | None, typer.Option(help="Measure the model of the service there, such as http://127.0.0.1:8000.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="GPT2SVC_API_KEY", help="Of the service at --url.", show_default=False)
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="RUN", help="Compare with an earlier evaluation: its id, or `last`.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="List the earlier evaluations instead.")] = False,
    as_json: AsJson = False,
    window: Annotated[
        int | None, typer.Option(help="Tokens read at once; default: the model's context.", show_default=False)
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Tokens from one window to the next; default: half of it.", show_default=False)
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            help="Longest completion written for a prompt; 0 writes none.",
            show_default="128, at most half of the window",
        ),
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Text that ends a written completion; several times if need be.")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where pulled models and earlier evaluations are.")] = None,
) -> None:
    """Measure a model on a file: perplexity, bits per byte, word perplexity and next-token accuracy.

    Rows with a prompt and a completion are also answered, greedily, and compared by BLEU (needs the extra `eval`),
    ROUGE and exact match. Each evaluation is kept, so that a later one can be compared with it.
    """
    from gpt2svc.config import load_settings
    from gpt2svc.evaluation.history import EvaluationHistory

    settings = load_settings(model=model, device=device, dtype=dtype, quantize=quantize, data_dir=data_dir)
    kept = EvaluationHistory(settings.data_dir)
    if history:
        _print_history(kept, as_json=as_json)
        return
    if data is None:
        raise InvalidInputError("Say what to evaluate on: --data FILE.", field="data")
    if stop and not all(stop):
        raise InvalidInputError("--stop can't be empty.", field="stop")
    earlier = kept.find(baseline) if baseline is not None else None
    stops = tuple(stop or ())
    if url is not None:
        if any(given is not None for given in (window, stride, device, dtype, quantize)):
            raise InvalidInputError(
                "--window, --stride, --device, --dtype and --quantize belong to the service at --url."
            )
        report = _run_served(url, api_key, model, data, max_new_tokens, stops)
    else:
        report = _run(settings, data, window, stride, max_new_tokens, stops)
    if as_json:
        _print_json(report, earlier)
    else:
        _print_table(report, earlier)
    kept.add(report)  # after it is shown: a full disk must not cost the measurement


def _run(
    settings: "Settings",
    data: Path,
    window: int | None,
    stride: int | None,
    max_new_tokens: int | None,
    stop: tuple[str, ...],
) -> "EvaluationReport":
    from gpt2svc.worker.cpu import apply_cpu_options
    from gpt2svc.worker.options import WorkerOptions

    # Before torch is imported: its threads must wait asleep, or a busy machine slows them tenfold.
    apply_cpu_options(WorkerOptions(settings.model, models_dir=str(settings.models_dir)), os.environ)
    from gpt2svc.evaluation.evaluation import EvaluationOptions
    from gpt2svc.evaluation.evaluation import evaluate as evaluate_folder
    from gpt2svc.models.catalogue import ModelCatalogue

    folder = ModelCatalogue(settings.models_dir).require(settings.model, allow_folder=True)
    options = EvaluationOptions(
        device=settings.device,
        dtype=settings.dtype,
        quantize=settings.quantize,
        is_native_enabled=settings.kernels == "auto",
        window=window,
        stride=stride,
        max_new_tokens=max_new_tokens,
        stop=stop,
    )
    with _reporting_bad_lines(), _progress_display() as on_progress:
        return evaluate_folder(folder, data, options, on_progress)


def _run_served(
    url: str, api_key: str | None, model: str | None, data: Path, max_new_tokens: int | None, stop: tuple[str, ...]
) -> "EvaluationReport":
    from gpt2svc.cli.service_client import open_service_client
    from gpt2svc.evaluation.served import evaluate_served

    client = open_service_client(url, api_key, timeout_s=_READ_TIMEOUT_S)
    with client, _reporting_bad_lines(), _progress_display() as on_progress:
        return evaluate_served(
            client, data, model=model, max_new_tokens=max_new_tokens, stop=stop, on_progress=on_progress
        )


@contextmanager
def _reporting_bad_lines() -> Iterator[None]:
    from gpt2svc.training.documents import CorpusError

    try:
        yield
    except CorpusError as error:
        for problem in error.problems:
            message(problem)
        raise


def _print_json(report: "EvaluationReport", baseline: "EvaluationReport | None") -> None:
    from gpt2svc.evaluation.report import caveats, compare

    described = report.to_mapping()
    if baseline is not None:
        described["baseline"] = {
            "id": baseline.id,
            "model": baseline.model,
            "model_revision": baseline.model_revision,
            "caveats": caveats(report, baseline),
            "metrics": {
                entry.metric: {"baseline": entry.baseline, "change": entry.change, "is_better": entry.is_better}
                for entry in compare(report, baseline)
            },
        }
    write_json(described)


def _short(revision: str) -> str:
    """A commit is long; what follows it says how the weights were quantised."""
    commit, dash, quantize = revision.partition("-")
    return f"{commit[:12]}{dash}{quantize}"


def _print_table(report: "EvaluationReport", baseline: "EvaluationReport | None") -> None:
    from gpt2svc.evaluation.report import METRICS, caveats, compare

    write(f"{report.model} ({_short(report.model_revision)}) on {report.data}")
    counts = f"{report.num_examples:,} examples, {report.num_tokens:,} tokens and {report.num_bytes:,} bytes scored"
    if not report.metrics.keys().isdisjoint(_TASK_METRICS):
        counts = f"{report.num_examples:,} examples, {report.num_tokens:,} tokens read"
    if report.num_completions:
        counts += f", {report.num_completions:,} completions written"
    write(counts)
    write("")
    differences = {entry.metric: entry for entry in compare(report, baseline)} if baseline is not None else {}
    rows = [("", report.id, *((baseline.id, "change", "") if baseline is not None else ()))]
    for name in METRICS:
        if name not in report.metrics:
            continue
        entry = differences.get(name)
        compared: tuple[str, ...] = ()
        if entry is not None:
            verdict = "" if entry.is_better is None else "better" if entry.is_better else "worse"
            compared = (_number(entry.baseline), f"{entry.change:+,.{_DIGITS}f}", verdict)
        rows.append((name, _number(report.metrics[name]), *compared))
    write_table(rows)
    if report.confusion is not None:
        _print_confusion(report.confusion["labels"], report.confusion["rows"])
    if "bleu_signature" in report.settings:
        message(f"BLEU: {report.settings['bleu_signature']}")
    elif report.num_completions:
        message("BLEU was left out: it needs sacrebleu (pip install 'gpt2svc[eval]').")
    if report.num_cut_prompts:
        message(f"{report.num_cut_prompts} prompts were longer than the window and lost their beginning.")
    if baseline is not None:
        for caveat in caveats(report, baseline):
            message(caveat)


def _print_confusion(labels: list[str], rows: list[list[int]]) -> None:
    """Of few labels: each row is what examples of one label were taken for."""
    if len(labels) > _MAX_SHOWN_LABELS:
        return
    write("")
    write_table(
        [("label \\ taken for", *labels), *((label, *map(str, row)) for label, row in zip(labels, rows, strict=True))]
    )


def _print_history(history: "EvaluationHistory", *, as_json: bool) -> None:
    reports = list(history.reports())
    if as_json:
        write_json([report.to_mapping() for report in reports])
        return
    names = ("perplexity", "bits_per_byte", "accuracy", "bleu", "rougeL", *_TASK_METRICS)
    rows: list[tuple[str, ...]] = [("ID", "TIME", "MODEL", "DATA", *(name.upper() for name in names))]
    for report in reports:
        numbers = [_number(report.metrics[name]) if name in report.metrics else "" for name in names]
        rows.append((report.id, report.created_at, report.model, report.data, *numbers))
    write_table(rows)


def _number(value: Any) -> str:
    return f"{value:,.{_DIGITS}f}" if isinstance(value, int | float) else "?"


@contextmanager
def _progress_display() -> "Iterator[Callable[[str, int, int], None] | None]":
    """A bar on a terminal, on stderr; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show
