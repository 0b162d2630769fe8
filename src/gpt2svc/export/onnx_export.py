"""export_onnx: a model folder to a folder for onnxruntime and Transformers.js, verified before it gets its name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx

from gpt2svc.export.classifier_graph import build_classifier
from gpt2svc.export.classifier_verification import ClassifierVerifier
from gpt2svc.export.companion_files import write_companion_files
from gpt2svc.export.gpt2_graph import build_gpt2
from gpt2svc.export.precision import FP16, FP32, Q8, Precision
from gpt2svc.export.verification import Verifier
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.new_folder import new_folder
from gpt2svc.models.weights import WeightReader

GRAPHS_DIR: Final = "onnx"
DATA_SUFFIX: Final = "_data"  # where Transformers.js looks for weights that are not in the graph

# A graph is one protocol buffer, which ends at 2 GB.
MAX_INLINE_BYTES: Final = 1_800_000_000

_BYTES_A_WEIGHT: Final = {FP32: 4, FP16: 2, Q8: 1}


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """`error` is the largest of all verified cases, in the measure of Precision.tolerance."""

    precision: str
    file: str  # within the output folder
    num_bytes: int  # with its weights
    error: float
    tolerance: float


def export_onnx(
    folder: ModelFolder,
    output: Path,
    precisions: Sequence[Precision] = (FP32,),
    *,
    max_inline_bytes: int = MAX_INLINE_BYTES,
    on_stage: Callable[[str], None] | None = None,
) -> list[ExportedGraph]:
    """Write `output`, which must not exist yet; nothing is left after an error.

    Raises InvalidInputError for an output that can't be written, ModelFormatError for a folder without a tokenizer and
    for a graph that fails its verification.
    """

    def announce(stage: str) -> None:
        if on_stage is not None:
            on_stage(stage)

    folder.load_tokenizer()
    with new_folder(output) as target:
        graphs = target / GRAPHS_DIR
        graphs.mkdir()
        external_files: dict[str, int] = {}
        announce("Loading the reference in torch")
        is_classifier = not folder.config.is_language_model
        verifier = (ClassifierVerifier if is_classifier else Verifier)(folder.path, folder.config)
        build = build_classifier if is_classifier else build_gpt2
        exported = []
        for precision in precisions:
            path = graphs / precision.file
            data_path = None
            if folder.num_parameters * _BYTES_A_WEIGHT[precision] > max_inline_bytes:
                data_path = path.with_name(path.name + DATA_SUFFIX)
                external_files[path.name] = 1
            announce(f"Writing {precision.file}")
            model = build(folder.config, WeightReader(folder), precision, data_path)
            path.write_bytes(model.SerializeToString())
            del model
            onnx.checker.check_model(str(path), full_check=True)
            announce(f"Verifying {precision.file}")
            error = verifier.verify(path, precision).largest
            num_bytes = sum(file.stat().st_size for file in (path, data_path) if file is not None)
            exported.append(
                ExportedGraph(precision.name, f"{GRAPHS_DIR}/{precision.file}", num_bytes, error, precision.tolerance)
            )
        write_companion_files(folder, target, external_files)
    return exported
