import pytest
import torch

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.generate import generate
from gpt2svc.engine.loader import load_engine
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.errors import ConfigError
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.quantization import Quantization

CONFIG = EngineConfig(max_num_seqs=3, num_threads=1)


def test_loaded_engine_describes_its_model_and_answers(folders: list[ModelFolder]) -> None:
    heard: list[tuple[str, float | None]] = []
    core, info = load_engine(folders[0], device="cpu", config=CONFIG, progress=lambda *stage: heard.append(stage))
    config = folders[0].config
    assert (info.name, info.revision) == (folders[0].name, folders[0].revision)
    assert (info.device, info.dtype, info.num_slots) == ("cpu", "float32", 3)
    assert (info.vocab_size, info.n_positions) == (config.vocab_size, config.n_positions)
    assert info.num_parameters == folders[0].num_parameters
    window = config.n_positions
    assert info.memory_bytes >= 4 * info.num_parameters + 3 * 2 * config.n_layer * window * config.n_embd * 4
    assert [stage for stage, _ in heard][-2:] == ["Reading weights", "Warming up"]
    assert core.stats.num_steps == 0
    assert not core.has_work
    params = SamplingParams(seed=0, max_new_tokens=3)
    assert len(generate(core, [[1, 2, 3]], params)[0].token_ids) == 3


def test_dtype_is_what_was_asked_for(folders: list[ModelFolder]) -> None:
    _, info = load_engine(folders[0], device="cpu", dtype="bfloat16", config=CONFIG)
    assert info.dtype == "bfloat16"


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_quantised_model_is_smaller_and_has_a_revision_of_its_own(
    wide_folder: ModelFolder, quantize: Quantization
) -> None:
    plain_core, plain = load_engine(wide_folder, device="cpu", dtype="float32", config=CONFIG)
    core, info = load_engine(wide_folder, device="cpu", dtype="float32", quantize=quantize, config=CONFIG)
    assert (plain.quantize, info.quantize) == ("none", quantize)
    assert info.revision == f"{plain.revision}-{quantize}"
    assert core.num_cache_bytes == plain_core.num_cache_bytes
    assert info.memory_bytes - core.num_cache_bytes < 0.6 * (plain.memory_bytes - core.num_cache_bytes)
    params = SamplingParams(seed=0, max_new_tokens=3)
    assert len(generate(core, [[1, 2, 3]], params)[0].token_ids) == 3


def test_unknown_quantisation_is_refused_by_name(folders: list[ModelFolder]) -> None:
    with pytest.raises(ConfigError, match="quantize must be one of none, int8, int4, not 'int3'") as caught:
        load_engine(folders[0], device="cpu", quantize="int3")  # type: ignore[arg-type]
    assert caught.value.field == "quantize"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_missing_device_is_refused_before_anything_is_read(folders: list[ModelFolder]) -> None:
    heard: list[str] = []
    with pytest.raises(ConfigError):
        load_engine(folders[0], device="cuda", progress=lambda stage, _percent: heard.append(stage))
    assert heard == []
