"""The worker as it is shipped: torch, a model folder, the engine."""

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.worker.client import WorkerClient
from gpt2svc.worker.options import WorkerOptions
from tests.worker.messages import request


async def test_the_real_engine_answers_many_at_once_with_the_same_tokens_as_alone(
    model_folder: Path, tmp_path: Path
) -> None:
    options = WorkerOptions(str(model_folder), models_dir=str(tmp_path), allow_folder=True, device="cpu")
    client = WorkerClient(options, ModelCatalogue(tmp_path))
    client.start()

    async def tokens(request_id: str) -> list[int]:
        outputs = client.submit(request(request_id, max_new_tokens=20))
        return [token_id async for output in outputs for token_id in output.token_ids]

    try:
        alone = await tokens("alone")
        assert len(alone) == 20
        assert await asyncio.gather(*(tokens(str(i)) for i in range(8))) == [alone] * 8
        info = client.state.info
        assert info is not None
        assert (info.device, info.n_positions, info.revision) == ("cpu", 64, client.revision)
    finally:
        await client.aclose()


def test_loading_a_model_imports_torch_but_not_transformers(model_folder: Path, tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys
        from gpt2svc.worker.loading import load_model
        from gpt2svc.worker.options import WorkerOptions
        assert "torch" not in sys.modules, "torch is imported before its thread counts are set"
        load_model(WorkerOptions(sys.argv[1], models_dir=sys.argv[2], allow_folder=True, device="cpu"), lambda _: None)
        print(*sorted({"torch", "transformers", "huggingface_hub", "httpx", "sqlalchemy"} & sys.modules.keys()))
    """)
    command = [sys.executable, "-c", script, str(model_folder), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["torch"]
