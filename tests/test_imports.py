"""The API process stays free of torch, so that it starts fast and survives what happens to the engine."""

import subprocess
import sys

import pytest

TORCH_FREE = (
    "gpt2svc.app",
    "gpt2svc.api.routes.messages",
    "gpt2svc.chat.turns",
    "gpt2svc.chat.conversations",
    "gpt2svc.generation.supervisor",
    "gpt2svc.persistence.database",
    "gpt2svc.config",
    "gpt2svc.worker.client",
    "gpt2svc.worker.pool",
    "gpt2svc.models.catalogue",
)


def modules_after(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(output.split())


def test_nothing_that_the_api_process_imports_brings_torch() -> None:
    loaded = modules_after("import " + ", ".join(TORCH_FREE))
    assert set(TORCH_FREE) <= loaded
    assert not {"torch", "transformers", "safetensors"} & loaded


@pytest.mark.parametrize("heavy", ["pydantic", "fastapi", "sqlalchemy", "torch", "numpy", "uvicorn"])
def test_command_line_imports_nothing_heavy_before_a_command_runs(heavy: str) -> None:
    assert heavy not in modules_after("from gpt2svc.cli.main import build_app; build_app()")
