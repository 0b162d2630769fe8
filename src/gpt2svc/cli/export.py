"""`gpt2svc export onnx`: a model for onnxruntime and for the browser."""

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from gpt2svc.cli.flags import AsOneJsonObject, Model, ModelsDataDir
from gpt2svc.cli.output import message, write, write_json
from gpt2svc.errors import ConfigError, InvalidInputError

export_app = typer.Typer(name="export", no_args_is_help=True, help="A model for other programs.")


@export_app.callback()
def _root() -> None:
    """A model for other programs."""


@export_app.command("onnx")
def export_onnx(
    output: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the exported model.")],
    model: Model = None,
    quantize: Annotated[
        str | None, typer.Option(metavar="q8", help="Write model_quantized.onnx too: 8 bits a weight.")
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Write model_fp16.onnx too.")] = False,
    as_json: AsOneJsonObject = False,
    data_dir: ModelsDataDir = None,
) -> None:
    """Write a model as ONNX: GPT-2 with its KV cache as Transformers.js and onnxruntime take it, GPT-1, classifiers.

    Each graph's logits are compared with those of the model in torch before the folder gets its name.
    """
    from gpt2svc.config import load_settings
    from gpt2svc.models.catalogue import ModelCatalogue

    if quantize not in (None, "q8"):
        raise InvalidInputError(f"--quantize must be q8, not {quantize!r}.", field="quantize")
    if not all(map(find_spec, ("onnx", "onnxruntime"))):
        raise ConfigError("Exporting needs the extra `export`: pip install 'gpt2svc[export]'.")
    settings = load_settings(model=model, data_dir=data_dir)
    folder = ModelCatalogue(settings.models_dir).require(settings.model, allow_folder=True)
    from gpt2svc.export.onnx_export import export_onnx as export_folder
    from gpt2svc.export.precision import FP16, FP32, Q8

    precisions = [FP32, *([Q8] if quantize else []), *([FP16] if fp16 else [])]
    graphs = export_folder(folder, output, precisions, on_stage=None if as_json else message)
    if as_json:
        write_json({"output": str(output), "graphs": [asdict(graph) for graph in graphs]})
        return
    for graph in graphs:
        message(
            f"{graph.file}: {graph.num_bytes / 1e6:,.1f} MB, logits within {graph.error:.1e} of torch's "
            f"(allowed: {graph.tolerance:.0e})"
        )
    write(str(output))
