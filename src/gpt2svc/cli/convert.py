"""`gpt2svc convert`: original checkpoints and pickle weights to a folder that can be served."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gpt2svc.cli.flags import AsOneJsonObject
from gpt2svc.cli.output import message, write, write_json


def convert(
    source: Annotated[Path, typer.Argument(help="Folder of the checkpoint, or the prefix of a TensorFlow one.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the converted model.")],
    allow_pickle: Annotated[
        bool,
        typer.Option(
            "--allow-pickle", help="Read pickle weights too, in a process of its own. Only from who you trust."
        ),
    ] = False,
    as_json: AsOneJsonObject = False,
) -> None:
    """Convert a checkpoint to safetensors: OpenAI's GPT-2 (TensorFlow), GPT-1 (numpy), or pytorch_model.bin.

    The output loads in transformers and is ready for `gpt2svc serve --model DIR`.
    """
    from gpt2svc.convert.conversion import convert as convert_source

    result = convert_source(source, output, is_pickle_allowed=allow_pickle)
    if as_json:
        write_json(asdict(result) | {"output": str(result.output)})
        return
    if result.num_ignored:
        message(f"{result.num_ignored} variables were left out: an optimizer's, not the model's.")
    message(f"Converted from {result.kind}.")
    write(str(result.output))
