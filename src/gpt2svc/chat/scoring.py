"""How likely a model finds a text, and which token may come next: in a text, or at any place of a conversation."""

import asyncio
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpt2svc.chat.next_token_prompt import PlaceInConversation, PlaceTokens, ReadPlace, read_place, tokens_at
from gpt2svc.chat.prompt import PromptBudget
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH, check_text
from gpt2svc.engine.types import NextToken, Scoring
from gpt2svc.errors import (
    ContextWindowError,
    InvalidInputError,
    ModelError,
    NotFoundError,
    UnavailableError,
)
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.deadline import within_deadline
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.persistence.database import Database
from gpt2svc.worker.availability import require_language_model
from gpt2svc.worker.protocol import EngineClient, EnginePool
from gpt2svc.worker.scoring import PromptScore, score_prompt

MAX_TOP = 1000
MAX_MEAN_NATS = 700.0  # a token: e to the power of more is no floating-point number


@dataclass(frozen=True, slots=True)
class NextTokenResult:
    model: str
    model_revision: str
    num_prompt_tokens: int
    next_token: NextToken
    texts: tuple[str, ...]  # of `next_token.top`


@dataclass(frozen=True, slots=True)
class TokensResult:
    model: str
    model_revision: str
    n_positions: int
    eos_token_id: int | None
    tokens: PlaceTokens


@dataclass(frozen=True, slots=True)
class PerplexityResult:
    """`logprobs` are those of every token of the text but the first, which nothing predicts."""

    model: str
    model_revision: str
    token_ids: tuple[int, ...]
    texts: tuple[str, ...]
    logprobs: tuple[float, ...]
    num_bytes: int  # of the scored tokens' text, in UTF-8
    window: int
    stride: int

    @property
    def nats(self) -> float:
        """Negative log-likelihood, summed."""
        return -math.fsum(self.logprobs)

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.nats / len(self.logprobs), MAX_MEAN_NATS))

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / max(1, self.num_bytes)


class ScoringService:
    def __init__(
        self,
        database: Database,
        engines: EnginePool,
        admission: Admission,
        supervisor: GenerationSupervisor,
        budget: PromptBudget,
    ) -> None:
        self._database = database
        self._engines = engines
        self._admission = admission
        self._supervisor = supervisor
        self._budget = budget
        self._numbers = itertools.count(1)

    async def next_token(
        self,
        owner: str,
        subject: str | PlaceInConversation,
        *,
        model: str | None = None,
        num_top: int = 20,
        has_distribution: bool = False,
    ) -> NextTokenResult:
        """What may follow a text, or a place in a conversation, by the model's own distribution.

        Raises InvalidInputError, ContextWindowError, NotFoundError, OverloadedError, UnavailableError, EngineError,
        DeadlineExceededError.
        """
        self._supervisor.require_accepting()
        permit = self._admission.reserve(self._budget.max_prompt_tokens, owner)
        try:
            if isinstance(subject, str):
                check_text("prompt", subject, MAX_CONTENT_LENGTH)
                engine = self._engines.get(model)
                token_ids = tuple(await asyncio.to_thread(engine.tokenizer.encode, subject))
                _check_window(token_ids, engine.n_positions)
            else:
                engine, tokens = await self._tokens_at(owner, subject, model)
                token_ids = tokens.token_ids
            permit.resize(len(token_ids))
            scoring = Scoring(start=len(token_ids), num_next=num_top, has_distribution=has_distribution)
            score = await self._score(engine, token_ids, scoring, owner)
        finally:
            permit.release()
        if score.next_token is None:
            raise UnavailableError("The model brought no distribution.", retry_after_s=1.0)
        top_ids = [token_id for token_id, _ in score.next_token.top]
        return NextTokenResult(
            engine.state.model, engine.revision, len(token_ids), score.next_token, _texts(engine, top_ids)
        )

    async def tokens(self, owner: str, place: PlaceInConversation) -> TokensResult:
        """What the model reads up to a place, token by token. Raises as `next_token` does; nothing is computed."""
        engine, tokens = await self._tokens_at(owner, place, None)
        eos = engine.tokenizer.eos_token_id
        return TokensResult(engine.state.model, engine.revision, engine.n_positions, eos, tokens)

    async def vocabulary(self, model: str | None) -> tuple[str, str, list[str]]:
        """Name and revision of a model, and what each of its tokens stands for, by id: "" for special ones.

        Raises NotFoundError, UnavailableError.
        """
        engine = self._engines.get(model)
        tokenizer = engine.tokenizer
        texts = await asyncio.to_thread(_texts, engine, range(tokenizer.vocab_size))
        return engine.state.model, engine.revision, list(texts)

    async def perplexity(self, owner: str, text: str, *, model: str | None = None) -> PerplexityResult:
        """Every token of `text` but the first is scored once. A text longer than the window is read in windows that
        overlap by half, so that each scored token has at least half a window before it.

        Raises InvalidInputError, NotFoundError, OverloadedError, UnavailableError, EngineError,
        DeadlineExceededError.
        """
        self._supervisor.require_accepting()
        check_text("text", text, MAX_CONTENT_LENGTH)
        permit = self._admission.reserve(self._budget.max_prompt_tokens, owner)
        try:
            engine = self._engines.get(model)
            window = engine.n_positions
            stride = max(1, window // 2)
            token_ids = tuple(await asyncio.to_thread(engine.tokenizer.encode, text))
            if len(token_ids) < 2:
                raise InvalidInputError("text must have at least two tokens: nothing predicts the first.", field="text")
            permit.resize(min(len(token_ids), window))
            logprobs: list[float] = []
            for begin in range(0, len(token_ids), stride):
                part = token_ids[begin : begin + window]
                scoring = Scoring(start=len(logprobs) + 1 - begin)
                score = await self._score(engine, part, scoring, owner)
                logprobs += [each.logprob for each in score.logprobs]
                if begin + window >= len(token_ids):
                    break
        finally:
            permit.release()
        num_bytes = len(text.encode()) - len(engine.tokenizer.token_bytes(token_ids[0]))
        return PerplexityResult(
            engine.state.model,
            engine.revision,
            token_ids,
            _texts(engine, token_ids),
            tuple(logprobs),
            num_bytes,
            window,
            stride,
        )

    async def _tokens_at(
        self, owner: str, place: PlaceInConversation, model: str | None
    ) -> tuple[EngineClient, PlaceTokens]:
        async with self._database.read() as uow:
            read = await read_place(uow, owner, place)
        engine = self._engine(model, read)
        tokens = await asyncio.to_thread(
            tokens_at, read, engine.tokenizer, self._budget, engine.n_positions, engine.revision
        )
        return engine, tokens

    def _engine(self, model: str | None, place: ReadPlace) -> EngineClient:
        if model is None and place.reply_model is not None:
            try:
                return self._engines.get(place.reply_model)
            except (NotFoundError, ModelError, InvalidInputError):
                pass  # imported, or its model was removed: the conversation's looks at it
        return self._engines.get(model or place.model)

    async def _score(
        self, engine: EngineClient, token_ids: tuple[int, ...], scoring: Scoring, owner: str
    ) -> PromptScore:
        require_language_model(engine)
        request_id = f"score-{next(self._numbers)}"
        async with within_deadline():
            return await score_prompt(engine, request_id, token_ids, scoring, owner=owner)


def _check_window(token_ids: tuple[int, ...], n_positions: int) -> None:
    if not token_ids:
        raise InvalidInputError("prompt must not be empty.", field="prompt")
    if len(token_ids) > n_positions:
        raise ContextWindowError(
            f"The prompt has {len(token_ids)} tokens; the model's window is {n_positions}.",
            num_tokens=len(token_ids),
            max_tokens=n_positions,
            field="prompt",
        )


def _texts(engine: EngineClient, token_ids: Sequence[int]) -> tuple[str, ...]:
    return tuple(map(engine.tokenizer.token_text, token_ids))
