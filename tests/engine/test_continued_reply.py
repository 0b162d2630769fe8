"""A reply that is cut anywhere and continued is the one that it would have been."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest
from gpt2svc.errors import InvalidInputError
from gpt2svc.models.folder import ModelFolder
from tests.fakes.model import HashModel

PARAMS = [
    SamplingParams(seed=7, max_new_tokens=24),
    SamplingParams(seed=8, max_new_tokens=24, temperature=1.4, top_k=0, presence_penalty=1.5, frequency_penalty=0.7),
    SamplingParams(seed=9, max_new_tokens=24, temperature=2.0, min_new_tokens=20, stop_token_ids=tuple(range(60))),
    SamplingParams(seed=1, max_new_tokens=24, temperature=0, no_repeat_ngram_size=2, frequency_penalty=2.0),
]
PROMPT = (5, 9, 33, 70, 5, 9)


def reply(core: EngineCore, request: EngineRequest) -> tuple[int, ...]:
    core.add_request(request)
    token_ids: list[int] = []
    while core.has_work:
        for output in core.step():
            assert output.error is None
            token_ids += output.token_ids
    return tuple(token_ids)


@pytest.mark.parametrize("params", PARAMS)
def test_continued_reply_equals_the_uncut_one(
    folders: list[ModelFolder], new_core: Callable[..., EngineCore], params: SamplingParams
) -> None:
    uncut = reply(new_core(folders[0]), EngineRequest("uncut", PROMPT, params))
    assert len(uncut) >= 20
    for cut in range(1, len(uncut)):
        core = new_core(folders[0])
        rest = reply(core, EngineRequest("rest", PROMPT + uncut[:cut], params, num_reply_tokens=cut))
        assert uncut[:cut] + rest == uncut, cut


def test_length_of_the_begun_part_is_checked() -> None:
    core = EngineCore(HashModel(n_positions=16), EngineConfig())
    params = SamplingParams(seed=1, max_new_tokens=4)
    for count in (-1, 3, 4):
        with pytest.raises(InvalidInputError) as refusal:
            core.add_request(EngineRequest("a", (1, 2, 3), params, num_reply_tokens=count))
        assert refusal.value.field == "num_reply_tokens"
    # What has been replied needs no room a second time.
    core.add_request(EngineRequest("b", tuple(range(15)), replace(params, max_new_tokens=10), num_reply_tokens=9))
    while core.has_work:
        core.step()
