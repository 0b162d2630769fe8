"""Stateless completions: admitted, checked, encoded and started before a byte of the answer goes out."""

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpt2svc.completions.completion import Completion, CompletionFacts
from gpt2svc.completions.prompts import EncodedPrompt, PromptInput
from gpt2svc.completions.seeds import seeds_of
from gpt2svc.completions.sequence import SequencePlan, SequenceRun
from gpt2svc.engine.types import EngineRequest, Scoring
from gpt2svc.errors import ContextWindowError, InvalidInputError, UnavailableError
from gpt2svc.generation.admission import Admission, Permit
from gpt2svc.generation.reply_ends import stop_token_ids_of
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.metrics import Metrics
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.worker.availability import require_language_model
from gpt2svc.worker.protocol import EngineClient, EnginePool


class ServerStoppedError(UnavailableError):
    code = "server_stopped"


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """`num_choices` sequences for each prompt, with one set of settings.

    Without `is_length_asked`, `settings.max_new_tokens` is a wish: a prompt that leaves less room gets less. A chat's
    reply (`turn_labels`) ends before the next turn and loses the white space around it; other text is verbatim.
    With `is_prompt_only` nothing is generated. `num_prompt_logprobs`: the prompt's own tokens are scored too, each with
    so many of the likeliest at its place.
    """

    prompts: tuple[PromptInput, ...]
    settings: SamplingSettings
    model: str | None = None
    owner: str = ""
    num_choices: int = 1
    is_length_asked: bool = True
    turn_labels: tuple[str, ...] = ()
    is_prompt_only: bool = False
    num_prompt_logprobs: int | None = None
    length_field: str = "max_tokens"  # what errors call the length
    num_tokens_after: int = 0  # of what follows each text, and has to fit the window with it

    @property
    def num_runs(self) -> int:
        """Of the engine, for each prompt: one beam search finds all its choices."""
        return 1 if self.settings.num_beams > 1 else self.num_choices


class CompletionService:
    def __init__(self, engines: EnginePool, admission: Admission, metrics: Metrics | None = None) -> None:
        self._metrics = metrics if metrics is not None else Metrics()
        self._engines = engines
        self._admission = admission
        self._running: set[Completion] = set()
        self._idle = asyncio.Event()
        self._is_stopped = False

    async def begin(self, request: CompletionRequest) -> Completion:
        """A completion whose sequences run; the caller closes it.

        Raises, with nothing begun: InvalidInputError, ContextWindowError, NotFoundError, OverloadedError,
        UnavailableError, ModelError.
        """
        permits = self.reserve(request)
        try:
            facts, engine = await self.prepare(request, permits)
            return self.start(facts, engine, permits)
        except BaseException:
            for permit in permits:
                permit.release()
            raise

    def start(self, facts: CompletionFacts, engine: EngineClient, permits: Sequence[Permit]) -> Completion:
        """Begin what `prepare` made, which then releases `permits`. Raises ServerStoppedError."""
        self._require_running()
        completion = Completion(facts, self._forget, self._metrics)
        self._running.add(completion)
        self._idle.clear()
        runs = [
            SequenceRun(plan, engine, facts.tokenizer, self._admission) for plan in facts.plans if plan.beam_rank == 0
        ]
        completion.start(runs, permits)
        return completion

    async def stop(self, drain_s: float = 0.0) -> None:
        """Begin no more, give the running ones up to `drain_s` seconds, and end the rest with an error that says so."""
        self._is_stopped = True
        if self._running and drain_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self._idle.wait()
        for completion in list(self._running):
            completion.end_with(_stopped())

    def _require_running(self) -> None:
        if self._is_stopped:
            raise _stopped()

    def _forget(self, completion: Completion) -> None:
        self._running.discard(completion)
        if not self._running:
            self._idle.set()

    def reserve(self, request: CompletionRequest) -> list[Permit]:
        """A place for each run of the engine, or none at all. Raises OverloadedError, ServerStoppedError."""
        self._require_running()
        # NOTE: before the first await and before any work; made smaller once the prompts are known.
        num_sequences = len(request.prompts) * request.num_runs
        if num_sequences > self._admission.max_requests:
            raise InvalidInputError(
                f"The request asks for {num_sequences} texts at once (prompts times n or best_of); this service takes "
                f"on {self._admission.max_requests}.",
                field="n" if request.num_choices > 1 else "prompt",
            )
        num_new = request.settings.num_computed_tokens
        nums_tokens = (prompt.estimate + num_new for prompt in request.prompts for _ in range(request.num_runs))
        return self._admission.reserve_each(nums_tokens, request.owner)

    async def prepare(
        self, request: CompletionRequest, permits: Sequence[Permit]
    ) -> tuple[CompletionFacts, EngineClient]:
        """Check and encode; `permits` are made as large as need be. Raises as `begin` does."""
        engine = self._engines.get(request.model)
        require_language_model(engine)
        tokenizer, n_positions, state = engine.tokenizer, engine.n_positions, engine.state
        max_prompt_tokens = _max_prompt_tokens(request, n_positions)
        prompts = await asyncio.to_thread(_encode, request.prompts, tokenizer, max_prompt_tokens)
        vocab_size = state.info.vocab_size if state.info is not None else tokenizer.vocab_size
        _check_ids(prompts, request.settings, vocab_size)
        if state.info is not None:
            request.settings.require_beams(state.info.num_slots)
        plans = _plans(request, prompts, tokenizer, n_positions)
        for plan, permit in zip((plan for plan in plans if plan.beam_rank == 0), permits, strict=True):
            params = plan.request.params
            permit.resize(len(plan.request.prompt_token_ids) + params.max_new_tokens * params.num_beams)
        return CompletionFacts(state.model, engine.revision, tokenizer, prompts, plans), engine


def _stopped() -> ServerStoppedError:
    return ServerStoppedError("The service is stopping.", retry_after_s=5.0)


def _max_prompt_tokens(request: CompletionRequest, n_positions: int) -> int:
    num_new = request.settings.max_new_tokens
    room = n_positions - request.num_tokens_after
    if request.is_prompt_only:
        return room
    if not request.is_length_asked:
        return room - max(1, min(num_new, room // 2))
    if num_new >= room:
        others = "prompt, reply and suffix" if request.num_tokens_after else "prompt and reply"
        raise ContextWindowError(
            f"{request.length_field} is {num_new}, but this model's window is {n_positions} tokens, {others} together.",
            num_tokens=num_new,
            max_tokens=room - 1,
            field=request.length_field,
        )
    return room - num_new


def _encode(prompts: Sequence[PromptInput], tokenizer: Tokenizer, max_tokens: int) -> tuple[EncodedPrompt, ...]:
    return tuple(prompt.encode(tokenizer, max_tokens) for prompt in prompts)


def _check_ids(prompts: Sequence[EncodedPrompt], settings: SamplingSettings, vocab_size: int) -> None:
    largest = max(max(prompt.token_ids) for prompt in prompts)
    if largest >= vocab_size:
        raise InvalidInputError(
            f"prompt holds the token id {largest}; this model's ids are 0 to {vocab_size - 1}.", field="prompt"
        )
    if settings.logit_bias and settings.logit_bias[-1][0] >= vocab_size:
        raise InvalidInputError(
            f"logit_bias names token {settings.logit_bias[-1][0]}; this model's ids are 0 to {vocab_size - 1}.",
            field="logit_bias",
        )


def _plans(
    request: CompletionRequest, prompts: Sequence[EncodedPrompt], tokenizer: Tokenizer, n_positions: int
) -> tuple[SequencePlan, ...]:
    settings = request.settings
    stop_token_ids = stop_token_ids_of(tokenizer, is_reply=bool(request.turn_labels))
    num_top = request.num_prompt_logprobs
    scoring = Scoring(num_top=num_top) if num_top is not None else None
    name = f"cmpl-{secrets.token_hex(12)}"
    plans = []
    n_positions -= request.num_tokens_after
    for index, seed in enumerate(seeds_of(settings.seed, len(prompts), request.num_choices)):
        prompt = prompts[index // request.num_choices]
        num_new = min(settings.max_new_tokens, max(1, n_positions - len(prompt.token_ids)))
        fitting = replace(settings, max_new_tokens=num_new, min_new_tokens=min(settings.min_new_tokens, num_new))
        params = fitting.to_params(
            seed=seed, stop_token_ids=stop_token_ids, num_return_sequences=request.num_choices // request.num_runs
        )
        plans.append(
            SequencePlan(
                index=index,
                prompt_index=index // request.num_choices,
                request=EngineRequest(
                    request_id=f"{name}-{index}",
                    prompt_token_ids=prompt.token_ids,
                    params=replace(params, max_new_tokens=0, min_new_tokens=0) if request.is_prompt_only else params,
                    owner=request.owner,
                    scoring=scoring,
                ),
                stop=settings.stop,
                turn_labels=request.turn_labels,
                is_verbatim=not request.turn_labels,
                processing=settings.processing,
                beam_rank=index % request.num_choices if params.is_beam_search else 0,
            )
        )
    return tuple(plans)
