"""The bundled model with few bits, on real dialogues of both languages: what docs/quantization.md promises."""

from pathlib import Path

import pytest

import gpt2svc
from gpt2svc.evaluation.evaluation import EvaluationOptions, evaluate
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.native.library import NativeLibrary
from gpt2svc.models.quantization import Quantization

PACKAGE = Path(gpt2svc.__file__).parent


@pytest.fixture(scope="module")
def starter() -> ModelFolder:
    return ModelFolder.open(PACKAGE / "starter")


@pytest.fixture(scope="module")
def dialogues(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows: list[str] = []
    for language in ("english", "ukrainian"):
        path = PACKAGE / "training" / "recipes" / f"identity_{language}.jsonl"
        rows += path.read_text("utf-8").splitlines(keepends=True)[:40]
    path = tmp_path_factory.mktemp("dialogues") / "rows.jsonl"
    path.write_text("".join(rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def float32_perplexity(starter: ModelFolder, dialogues: Path) -> float:
    return _perplexity(starter, dialogues, "none")


@pytest.fixture(params=["own kernels where they are", "torch"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(NativeLibrary, "find", lambda: None)


def _perplexity(folder: ModelFolder, rows: Path, quantize: Quantization) -> float:
    dtype = "float32" if quantize == "none" else "auto"
    options = EvaluationOptions(device="cpu", dtype=dtype, quantize=quantize, max_new_tokens=0)
    return evaluate(folder, rows, options).metrics["perplexity"]


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("quantize", "share"), [("int8", 0.01), ("int4", 0.05)])
def test_perplexity_stays_close_to_that_of_float32(
    starter: ModelFolder, dialogues: Path, float32_perplexity: float, quantize: Quantization, share: float
) -> None:
    perplexity = _perplexity(starter, dialogues, quantize)
    assert perplexity == pytest.approx(float32_perplexity, rel=share)
    assert perplexity != float32_perplexity
