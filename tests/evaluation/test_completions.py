from pathlib import Path

import torch

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.evaluation.completions import write_completions
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from tests.evaluation.conftest import WINDOW


def test_a_stop_string_is_cut_off_with_what_follows(model_path: Path) -> None:
    folder = ModelFolder.open(model_path)
    core = EngineCore(GPT2.from_folder(folder, torch.device("cpu"), torch.float32), EngineConfig(max_num_seqs=4))
    tokenizer = folder.load_tokenizer()
    prompts = [f"{text} the" for text in ("hello", "user", "Привіт", "x", "in", "42", "?", "a b c")]
    done = []

    def write(*stop: str) -> tuple[str, ...]:
        return write_completions(
            core,
            tokenizer,
            prompts,
            max_new_tokens=12,
            n_positions=WINDOW,
            stop=stop,
            on_progress=lambda count, total: done.append((count, total)),
        ).texts

    whole = write()
    assert done[-1] == (len(prompts), len(prompts))
    first_differs = next(text for text in whole if len(set(text)) > 1)
    stop = next(char for char in first_differs if char != first_differs[0])
    cut = write("never", stop)
    assert cut == tuple(text.split(stop)[0] for text in whole)
    assert any(0 < len(after) < len(before) for after, before in zip(cut, whole, strict=True))
