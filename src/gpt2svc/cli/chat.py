"""`gpt2svc chat`: talk with a model in the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from gpt2svc.cli.output import message
from gpt2svc.cli.sampling_flags import with_sampling_flags
from gpt2svc.errors import InvalidInputError

GREETING = "Talking with {model}. /help lists the commands; Ctrl-C stops a reply, Ctrl-D leaves."


@with_sampling_flags
def chat(
    *,
    url: str | None = typer.Option(
        None, help="Talk with the service there, such as http://127.0.0.1:8000; it keeps the conversation."
    ),
    api_key: str | None = typer.Option(
        None, envvar="GPT2SVC_API_KEY", help="Of the service at --url.", show_default=False, show_envvar=True
    ),
    model: str | None = typer.Option(None, help="starter, a hub name, or a folder.", show_default="starter"),
    device: str | None = typer.Option(None, help="auto, cpu, cuda, cuda:1, mps; not with --url."),
    dtype: str | None = typer.Option(None, help="auto, float32, bfloat16, float16; not with --url."),
    quantize: str | None = typer.Option(None, help="none, int8 or int4: weights in fewer bits; not with --url."),
    data_dir: Path | None = typer.Option(None, help="Where pulled models are; not with --url."),
    settings: Mapping[str, Any],
) -> None:
    """Talk with a model: one in this process, or one behind a running service (--url)."""
    from gpt2svc.cli.repl import Repl

    _enable_line_editing()
    if url is None:
        from gpt2svc.chat.prompt import PromptBudget
        from gpt2svc.cli.local_chat import LocalChat
        from gpt2svc.cli.local_engine import LocalEngine
        from gpt2svc.config import load_settings

        service = load_settings(model=model, device=device, dtype=dtype, quantize=quantize, data_dir=data_dir)
        engine = LocalEngine.load(service)
        message(GREETING.format(model=service.model))
        budget = PromptBudget(max_messages=service.prompt_max_messages, max_prompt_tokens=service.prompt_max_tokens)
        Repl(LocalChat(engine, budget), settings).run()
        return

    from gpt2svc.cli.remote_chat import RemoteChat
    from gpt2svc.cli.service_client import open_service_client

    if any(given is not None for given in (device, dtype, quantize, data_dir)):
        raise InvalidInputError(
            "--device, --dtype, --quantize and --data-dir belong to the service at --url: set them there."
        )
    with open_service_client(url, api_key) as client:
        remote = RemoteChat(client, model=model)
        message(GREETING.format(model=remote.start()))
        Repl(remote, settings).run()


def _enable_line_editing() -> None:
    """Arrow keys and a history at the prompt, where the platform has readline."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return
