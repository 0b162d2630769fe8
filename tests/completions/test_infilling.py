"""Texts before a suffix: places for the drawing and the judging, all of which come back."""

import asyncio
from pathlib import Path

import pytest

from gpt2svc.completions.infilling import MAX_LANES, MAX_PLACES, InfillingService
from gpt2svc.completions.prompts import RawPrompt
from gpt2svc.completions.service import CompletionRequest, CompletionService
from gpt2svc.errors import ContextWindowError, InvalidInputError, OverloadedError
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.tokenizer import write_tokenizer_folder


class Stack:
    def __init__(self, folder: Path, max_requests: int = 20) -> None:
        self.engine = ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(folder)))
        self.admission = Admission(max_requests, 10_000)
        pool = ScriptedPool(self.engine)
        self.service = InfillingService(pool, self.admission, CompletionService(pool, self.admission))


def request(*prompts: str, num_drawn: int = 3, num_new: int = 40) -> CompletionRequest:
    settings = SamplingSettings(max_new_tokens=num_new)
    return CompletionRequest(tuple(map(RawPrompt, prompts)), settings, num_choices=num_drawn, owner="o")


async def test_each_text_is_judged_whole_and_cut_with_the_suffix_behind_it(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.engine.say("xyz")
    completion, result = await stack.service.fill(request("ab", "cd", num_drawn=2), "end", 1)
    assert [sequence.prompt_index for sequence in result.sequences] == [0, 1]
    assert [sequence.text for sequence in result.sequences] == ["xyz", "xyz"]  # of equal ones the longest
    judged = [r for r in stack.engine.requests if r.scoring is not None]
    texts = [stack.engine.decode(r.prompt_token_ids) for r in judged]
    assert sorted(texts) == sorted(2 * [p + t + "end" for p in ("ab", "cd") for t in ("xyz", "xy", "x")])
    suffix = len(stack.engine.encode("end"))
    for each in judged:
        assert each.scoring is not None
        assert (len(each.prompt_token_ids) - each.scoring.start, each.owner) == (suffix, "o")
    assert result.num_suffix_tokens == 2 * suffix
    assert result.num_completion_tokens == sum(len(stack.engine.encode("xyz")) + 1 for _ in range(4))
    assert completion.facts.num_prompt_tokens == 4
    await until(lambda: stack.admission.num_requests == 0)


async def test_a_long_text_is_tried_at_a_few_places_only(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.engine.say("q" * 39)
    await stack.service.fill(request("ab", num_drawn=1), "z", 1)
    judged = [len(r.prompt_token_ids) for r in stack.engine.requests if r.scoring is not None]
    assert 5 <= len(judged) <= MAX_PLACES
    assert max(judged) - min(judged) > 25


async def test_places_for_judging_are_taken_before_any_work_and_given_back_when_the_client_leaves(
    tmp_path: Path,
) -> None:
    stack = Stack(tmp_path)
    stack.engine.hold_at(0)
    task = asyncio.create_task(stack.service.fill(request("ab", num_drawn=6), "end", 1))
    await stack.engine.wait_for_requests(6)
    assert stack.admission.num_requests == 6 + MAX_LANES
    task.cancel()
    await asyncio.wait({task})
    await stack.engine.wait_until_idle()
    await until(lambda: stack.admission.num_requests == 0)
    others = [stack.admission.reserve(1) for _ in range(12)]
    with pytest.raises(OverloadedError):
        await stack.service.fill(request("ab", num_drawn=6), "end", 1)
    assert stack.admission.num_requests == len(others)
    assert len(stack.engine.requests) == 6


async def test_what_can_never_fit_is_refused_by_name(tmp_path: Path) -> None:
    stack = Stack(tmp_path, max_requests=3)
    with pytest.raises(InvalidInputError) as many:
        await stack.service.fill(request("ab", num_drawn=3), "end", 1)
    assert many.value.field == "best_of"
    for suffix, num_new, field in (("z" * 256, 40, "suffix"), ("z" * 220, 40, "max_tokens"), ("z" * 214, 40, "prompt")):
        with pytest.raises(ContextWindowError) as long:
            await stack.service.fill(request("abc", num_drawn=1, num_new=num_new), suffix, 1)
        assert long.value.field == field
    assert stack.engine.requests == []
    assert stack.admission.num_requests == 0
