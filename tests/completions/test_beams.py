"""One beam search of the engine brings all the texts of a prompt."""

from dataclasses import replace
from pathlib import Path

import pytest

from gpt2svc.completions.prompts import RawPrompt
from gpt2svc.completions.result import collect
from gpt2svc.completions.service import CompletionRequest, CompletionService
from gpt2svc.errors import InvalidInputError, WorkerCrashedError
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.tokenizer import write_tokenizer_folder

BEAMS = SamplingSettings(max_new_tokens=10, num_beams=3)


class Stack:
    def __init__(self, folder: Path) -> None:
        self.engine = ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(folder)))
        self.admission = Admission(4, 10_000)
        self.service = CompletionService(ScriptedPool(self.engine), self.admission)


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


def request(*prompts: str, settings: SamplingSettings = BEAMS, num_choices: int = 2) -> CompletionRequest:
    return CompletionRequest(tuple(RawPrompt(prompt) for prompt in prompts), settings, num_choices=num_choices)


async def test_the_results_of_a_search_are_the_choices_of_its_prompt_best_first(stack: Stack) -> None:
    stack.engine.hold_at(1)
    completion = await stack.service.begin(request("abcd", "efg"))
    assert (stack.admission.num_requests, stack.admission.num_tokens) == (2, 4 + 3 + 2 * 3 * 10)  # by all beams
    stack.engine.release()
    result = await collect(completion)
    assert [sequence.text for sequence in result.sequences] == ["abcd", "bcd", "efg", "fg"]
    assert [sequence.score for sequence in result.sequences] == [-1.5, -2.5, -1.5, -2.5]
    assert [sequence.finish_reason for sequence in result.sequences] == ["stop"] * 4
    assert [len(each.prompt_token_ids) for each in stack.engine.requests] == [4, 3]
    assert {each.params.num_return_sequences for each in stack.engine.requests} == {2}
    await until(lambda: stack.admission.num_requests == 0)


async def test_a_stop_string_in_the_best_text_leaves_the_others_to_come(stack: Stack) -> None:
    result = await collect(await stack.service.begin(request("abcd", settings=replace(BEAMS, stop=("b",)))))
    assert [sequence.text for sequence in result.sequences] == ["a", ""]
    assert [sequence.finish_reason for sequence in result.sequences] == ["stop", "stop"]
    assert stack.engine.aborted == []
    [alone] = (
        await collect(await stack.service.begin(request("abcd", settings=replace(BEAMS, stop=("b",)), num_choices=1)))
    ).sequences
    assert alone.text == "a"
    await until(lambda: len(stack.engine.aborted) == 1)  # nobody wants the rest


async def test_a_crash_after_the_best_text_has_stopped_is_told(stack: Stack) -> None:
    stack.engine.hold_at(2)
    completion = await stack.service.begin(request("abcd", settings=replace(BEAMS, stop=("b",))))
    await stack.engine.wait_for_requests(1)
    stack.engine.crash()
    with pytest.raises(WorkerCrashedError):
        await collect(completion)
    await until(lambda: stack.admission.num_requests == 0)


async def test_more_beams_than_the_model_runs_at_once_are_refused_with_the_limit(stack: Stack) -> None:
    with pytest.raises(InvalidInputError, match=r"num_beams \(9\) must be at most 8") as caught:
        await stack.service.begin(request("a", settings=replace(BEAMS, num_beams=9)))
    assert caught.value.field == "settings.num_beams"
    assert stack.admission.num_requests == 0
