"""GPT-1's own forward against transformers' OpenAIGPTLMHeadModel, and the engine on it."""

from pathlib import Path

import pytest
import torch
from transformers import OpenAIGPTLMHeadModel

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.generate import generate
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.errors import ModelFormatError
from gpt2svc.models.chunk import Chunk
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt1 import GPT1
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.loading import load_model
from gpt2svc.models.native.gpt2 import NativeGPT2
from gpt2svc.models.native.library import NativeLibrary
from tests.fakes.checkpoints import random_gpt1

GREEDY = SamplingParams(seed=0, temperature=0, repetition_penalty=1.0, max_new_tokens=24, logprobs=2)


@pytest.fixture(scope="module", params=["gelu", "relu"])
def reference(request: pytest.FixtureRequest) -> OpenAIGPTLMHeadModel:
    return random_gpt1(afn=request.param)


@pytest.fixture(scope="module")
def folder(reference: OpenAIGPTLMHeadModel, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    path = tmp_path_factory.mktemp("gpt1")
    reference.save_pretrained(path)
    return ModelFolder.open(path)


@pytest.fixture(params=["torch", "kernels"])
def library(request: pytest.FixtureRequest) -> NativeLibrary | None:
    if request.param == "torch":
        return None
    found = NativeLibrary.find()
    if found is None:
        pytest.skip("the kernels are not compiled here")
    return found


def load(folder: ModelFolder, library: NativeLibrary | None, dtype: torch.dtype = torch.float32) -> GPT2 | NativeGPT2:
    return load_model(folder, torch.device("cpu"), dtype, library=library)


def prompts(vocab_size: int) -> list[list[int]]:
    torch.manual_seed(1)
    return [torch.randint(1, vocab_size, (length,)).tolist() for length in (1, 2, 5, 17, 33, 60)]


@torch.no_grad()
def greedy(reference: OpenAIGPTLMHeadModel, prompt: list[int], count: int) -> list[int]:
    """Without a cache, which this class hasn't got."""
    token_ids = list(prompt)
    for _ in range(count):
        token_ids.append(int(reference(torch.tensor([token_ids])).logits[0, -1].argmax()))
    return token_ids[len(prompt) :]


def test_logits_equal_transformers_at_every_position(
    reference: OpenAIGPTLMHeadModel, folder: ModelFolder, library: NativeLibrary | None
) -> None:
    model = load(folder, library)
    assert isinstance(model, GPT1 if library is None else NativeGPT2)
    window = folder.config.n_positions
    torch.manual_seed(2)
    token_ids = torch.randint(0, folder.config.vocab_size, (window,)).tolist()
    logits = model.forward([Chunk(0, 0, token_ids, False, num_scored=window)], model.new_cache(1))
    with torch.no_grad():
        expected = reference(torch.tensor([token_ids])).logits[0]
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)


def test_greedy_tokens_equal_transformers_alone_and_batched_with_the_same_bits(
    reference: OpenAIGPTLMHeadModel, folder: ModelFolder, library: NativeLibrary | None
) -> None:
    model = load(folder, library)
    texts = prompts(folder.config.vocab_size)
    found = []
    for slots, budget in ((8, 256), (1, 256), (3, 7)):
        core = EngineCore(model, EngineConfig(max_num_seqs=slots, max_num_batched_tokens=budget))
        found.append([(c.token_ids, c.logprobs) for c in generate(core, texts, GREEDY)])
    assert found[0] == found[1] == found[2]
    for text, (token_ids, _) in zip(texts, found[0], strict=True):
        assert list(token_ids) == greedy(reference, text, GREEDY.max_new_tokens)
    assert len({token_id for token_ids, _ in found[0] for token_id in token_ids}) >= 5  # no mere echo


def test_bfloat16_gives_the_same_bits_alone_and_batched(folder: ModelFolder, library: NativeLibrary | None) -> None:
    model = load(folder, library, torch.bfloat16)
    texts = prompts(folder.config.vocab_size)
    batched = generate(EngineCore(model, EngineConfig(max_num_seqs=8)), texts, GREEDY)
    alone = [generate(EngineCore(model, EngineConfig(max_num_seqs=1)), [text], GREEDY)[0] for text in texts]
    assert [(c.token_ids, c.logprobs) for c in batched] == [(c.token_ids, c.logprobs) for c in alone]


def test_configuration_has_gpt1s_own_names_and_defaults() -> None:
    config = GPT2Config.from_json({"model_type": "openai-gpt"})
    assert (config.vocab_size, config.n_positions, config.n_inner) == (40478, 512, 3072)
    assert config.activation_function == "gelu_new"  # GPT-1 calls the approximation "gelu"
    assert config.architecture == "openai-gpt"
    by_class = GPT2Config.from_json({"architectures": ["OpenAIGPTLMHeadModel"]})
    assert by_class.architecture == "openai-gpt"
    with pytest.raises(ModelFormatError) as refusal:
        GPT2Config.from_json({"model_type": "openai-gpt", "afn": "tanh"})
    assert refusal.value.field == "afn"


def test_folder_without_a_layer_of_gpt1_is_refused(reference: OpenAIGPTLMHeadModel, tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in reference.state_dict().items() if "ln_2.bias" not in name}
    reference.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(ModelFormatError, match=r"h\.0\.ln_2\.bias"):
        ModelFolder.open(tmp_path)
