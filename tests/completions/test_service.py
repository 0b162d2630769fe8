"""Admission of completions: a place for each sequence or none, and every place comes back."""

import asyncio
from pathlib import Path

import pytest

from gpt2svc.completions.prompts import RawPrompt
from gpt2svc.completions.result import collect
from gpt2svc.completions.service import CompletionRequest, CompletionService
from gpt2svc.errors import ContextWindowError, InvalidInputError, NotFoundError, OverloadedError, UnavailableError
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.tokenizer import write_tokenizer_folder

SETTINGS = SamplingSettings(max_new_tokens=10)


class Stack:
    def __init__(self, folder: Path, max_requests: int = 4, max_tokens: int = 10_000) -> None:
        self.engine = ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(folder)))
        self.admission = Admission(max_requests, max_tokens)
        self.service = CompletionService(ScriptedPool(self.engine), self.admission)


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


def request(*prompts: str, num_choices: int = 1, model: str | None = None, num_new: int = 10) -> CompletionRequest:
    return CompletionRequest(
        tuple(RawPrompt(prompt) for prompt in prompts),
        SamplingSettings(max_new_tokens=num_new),
        model=model,
        num_choices=num_choices,
    )


async def test_each_sequence_has_a_place_which_comes_back_when_it_ends(stack: Stack) -> None:
    stack.engine.hold_at(1)
    completion = await stack.service.begin(request("ab", "abcd", num_choices=2))
    assert (stack.admission.num_requests, stack.admission.num_tokens) == (4, 2 * 12 + 2 * 14)
    stack.engine.release()
    result = await collect(completion)
    assert [sequence.text for sequence in result.sequences] == ["ab", "ab", "abcd", "abcd"]
    await until(lambda: stack.admission.num_requests == 0)


async def test_a_batch_that_does_not_fit_takes_no_place_at_all(stack: Stack) -> None:
    stack.engine.hold_at(0)
    first = await stack.service.begin(request("a", num_choices=2))
    with pytest.raises(OverloadedError):
        await stack.service.begin(request("a", num_choices=3))
    assert stack.admission.num_requests == 2
    with pytest.raises(InvalidInputError, match="5 texts"):
        await stack.service.begin(request("a", num_choices=5))
    assert len(stack.engine.requests) <= 2
    first.close()
    await until(lambda: stack.admission.num_requests == 0)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (request("a", model="other"), NotFoundError),
        (request("x" * 247), ContextWindowError),
        (request("a", num_new=256), ContextWindowError),
    ],
)
async def test_what_is_refused_leaves_nothing_behind(
    stack: Stack, asked: CompletionRequest, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await stack.service.begin(asked)
    assert (stack.admission.num_requests, stack.admission.num_tokens) == (0, 0)
    assert stack.engine.requests == []


async def test_a_model_that_has_failed_is_refused_before_anything_is_sent(stack: Stack) -> None:
    stack.engine.fail("Broken.")
    with pytest.raises(UnavailableError):
        await stack.service.begin(request("a"))
    assert stack.admission.num_requests == 0


async def test_closing_before_the_first_step_frees_every_place(stack: Stack) -> None:
    completion = await stack.service.begin(request("a", num_choices=4))
    completion.close()
    await until(lambda: stack.admission.num_requests == 0)
    assert stack.engine.active == {}


async def test_one_failing_sequence_stops_the_others(stack: Stack) -> None:
    stack.engine.hold_at(1)
    completion = await stack.service.begin(request("a", "b"))
    reading = asyncio.ensure_future(collect(completion))
    await stack.engine.wait_for_requests(2)
    stack.engine.abort(stack.engine.requests[0].request_id)
    with pytest.raises(Exception, match="gave up"):
        await reading
    await stack.engine.wait_until_idle()
    await until(lambda: stack.admission.num_requests == 0)


async def test_what_a_step_brings_beyond_a_stop_string_is_not_counted(stack: Stack) -> None:
    results = []
    for tokens_per_step in (1, 3, 50):
        stack.engine.tokens_per_step = tokens_per_step
        settings = SamplingSettings(max_new_tokens=20, stop=("cd",), seed=1)
        completion = await stack.service.begin(CompletionRequest((RawPrompt("ab"),), settings))
        stack.engine.say("abcdefghijk")
        results.append(await collect(completion))
    assert results[0].sequences[0].text == "ab"
    assert len({result.num_completion_tokens for result in results}) == 1
    assert results[0].sequences == results[1].sequences == results[2].sequences
