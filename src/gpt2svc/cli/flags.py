"""Flags that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

# Of commands that load a model themselves.
Model = Annotated[
    str | None, typer.Option("--model", help="starter, a pulled hub name, or a folder.", show_default="starter")
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str | None, typer.Option("--dtype", help="auto, float32, bfloat16, float16.")]
Quantize = Annotated[str | None, typer.Option("--quantize", help="none, int8 or int4: weights in fewer bits.")]
ModelsDataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where pulled models are.")]

# Of commands that work on the service's database.
DatabaseDataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the database; else as configured.", show_default=False)
]

# What a command prints with it.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsOneJsonObject = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object for each text, on one line.")]
