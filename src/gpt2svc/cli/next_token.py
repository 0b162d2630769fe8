"""`gpt2svc next-token`: what a model thinks may come next."""

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from gpt2svc.cli.flags import AsJsonLines, Device, Dtype, Model, ModelsDataDir, Quantize
from gpt2svc.cli.output import message, write, write_json
from gpt2svc.errors import ContextWindowError, Gpt2svcError, InvalidInputError

if TYPE_CHECKING:
    from gpt2svc.cli.local_engine import LocalEngine

MAX_TOP = 1000
BAR_WIDTH = 30
HELP = "Write a text and press Enter; a number alone appends that choice to the last text. Ctrl-D leaves."


def next_token(
    prompt: str | None = typer.Argument(None, help="The text before it; without one, texts are asked for."),
    *,
    num_top: int = typer.Option(20, "--top", min=1, max=MAX_TOP, help="How many of the likeliest tokens to show."),
    as_json: AsJsonLines = False,
    model: Model = None,
    device: Device = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    data_dir: ModelsDataDir = None,
) -> None:
    """Show the likeliest next tokens after a text, by the model itself: no sampling setting acts on them."""
    from gpt2svc.cli.local_engine import LocalEngine
    from gpt2svc.config import load_settings

    service = load_settings(model=model, device=device, dtype=dtype, quantize=quantize, data_dir=data_dir)
    engine = LocalEngine.load(service, max_num_seqs=2)
    if prompt is not None:
        _show(distribution(engine, prompt, num_top), as_json=as_json)
    else:
        explore(engine, num_top, as_json=as_json, read_line=input)


def explore(engine: "LocalEngine", num_top: int, *, as_json: bool, read_line: Callable[[str], str]) -> None:
    """Texts from the user until the input ends; a number takes that choice and goes on."""
    is_interactive = sys.stdin.isatty()
    if is_interactive:
        message(HELP)
    text, found = "", None
    while True:
        try:
            line = read_line("\n> " if is_interactive else "")
        except (EOFError, KeyboardInterrupt):
            return
        if not line:
            continue
        if found is not None and line.isascii() and line.isdigit() and 1 <= int(line) <= len(found["tokens"]):
            text += found["tokens"][int(line) - 1]["text"]
        else:
            text = line
        try:
            found = distribution(engine, text, num_top)
        except Gpt2svcError as error:
            message(f"Error: {error.message}")
            continue
        if is_interactive:
            message(text)
        _show(found, as_json=as_json)


def distribution(engine: "LocalEngine", text: str, num_top: int) -> dict[str, Any]:
    """As POST /api/next-token answers it. Raises InvalidInputError, ContextWindowError, EngineError."""
    from gpt2svc.engine.types import Scoring

    token_ids = tuple(engine.tokenizer.encode(text))
    if not token_ids:
        raise InvalidInputError("The text is empty.", field="prompt")
    if len(token_ids) > engine.info.n_positions:
        raise ContextWindowError(
            f"The text has {len(token_ids)} tokens; the model's window is {engine.info.n_positions}.",
            num_tokens=len(token_ids),
            max_tokens=engine.info.n_positions,
            field="prompt",
        )
    found = engine.next_token(token_ids, Scoring(start=len(token_ids), num_next=num_top))
    return {
        "model": engine.info.name,
        "model_revision": engine.info.revision,
        "prompt_tokens": len(token_ids),
        "entropy": found.entropy,
        "tokens": [
            {
                "token_id": token_id,
                "text": engine.tokenizer.token_text(token_id),
                "logprob": logprob,
            }
            for token_id, logprob in found.top
        ],
    }


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        write_json(found, indent=None)
        return
    for rank, token in enumerate(found["tokens"], start=1):
        probability = math.exp(token["logprob"])
        bar = "█" * round(BAR_WIDTH * probability)
        write(f"{rank:>4}  {probability:>7.2%}  {bar:<{BAR_WIDTH}}  {token['text']!r} ({token['token_id']})")
    message(f"{found['prompt_tokens']} tokens before it; entropy {found['entropy']:.2f} nats.")
