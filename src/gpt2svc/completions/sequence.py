"""One sequence of a stateless completion: from the engine's tokens to settled text."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, cast

from gpt2svc.engine.types import EngineRequest, Hypothesis, TokenLogprobs, TokenOutput
from gpt2svc.errors import EngineError, WorkerCrashedError
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.post_processing import PostProcessing
from gpt2svc.generation.reply_ends import stop_strings_of
from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.settled_token import SettledToken
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.worker.protocol import EngineClient

EndReason = Literal["stop", "length"]
PromptLogprobs = tuple[TokenLogprobs | None, ...]  # None for the first token, which nothing comes before


@dataclass(frozen=True, slots=True)
class Piece:
    """What one step brought for the sequence `index`. The last one of a sequence has a `finish_reason`.

    `end_token` is the end-of-text token where the model ended the sequence: it has no text. The counts are those so
    far; `sum_logprob` is over all sampled tokens, for requests with log-probabilities. `prompt_logprobs` come with the
    first piece that has text, or before it.
    """

    index: int
    tokens: tuple[SettledToken, ...] = ()
    end_token: SettledToken | None = None
    finish_reason: EndReason | None = None
    num_sampled: int = 0
    num_cached: int = 0
    sum_logprob: float = 0.0
    prompt_logprobs: PromptLogprobs | None = None  # of all the prompt's tokens at once, where they are asked for
    score: float | None = None  # of a beam search's result, with its last piece

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)


@dataclass(frozen=True, slots=True)
class SequencePlan:
    """Everything that a sequence needs, checked. `is_verbatim`: its text is kept to the last space.

    The results of a beam search are several sequences of one run, that of the best (`beam_rank` 0); the others follow
    it in order.
    """

    index: int
    prompt_index: int
    request: EngineRequest
    stop: tuple[str, ...]
    turn_labels: tuple[str, ...]
    is_verbatim: bool
    beam_rank: int = 0
    processing: PostProcessing | None = None

    @property
    def seed(self) -> int:
        return self.request.params.seed


class SequenceRun:
    """`pieces` may be iterated once; leaving it early aborts the sequence in the engine."""

    def __init__(self, plan: SequencePlan, engine: EngineClient, tokenizer: Tokenizer, admission: Admission) -> None:
        self.plan = plan
        self._engine = engine
        self._tokenizer = tokenizer
        self._admission = admission
        stop_strings = stop_strings_of(tokenizer, plan.stop, plan.turn_labels)
        before = plan.request.prompt_token_ids[-1]
        self._reply = ReplyText(
            tokenizer, stop_strings, is_verbatim=plan.is_verbatim, after=before, processing=plan.processing
        )
        self._num_sampled = 0
        self._num_cached = 0
        self._sum_logprob = 0.0
        self._prompt_logprobs: list[TokenLogprobs | None] | None = None if plan.request.scoring is None else [None]

    async def pieces(self) -> AsyncIterator[Piece]:
        """Of a beam search those of its other results too, each in one piece at the end.

        Raises EngineError, WorkerCrashedError and UnavailableError where the engine gives up.
        """
        if self.plan.request.scoring is None and self.plan.request.params.max_new_tokens == 0:
            yield Piece(self.plan.index, finish_reason="length")
            return
        outputs = cast(AsyncGenerator[TokenOutput, None], self._engine.submit(self.plan.request))
        async with aclosing(outputs):
            is_ended = False
            async for output in outputs:
                if not is_ended:
                    piece = self._take(output)
                    is_ended = piece.finish_reason is not None
                    if self._prompt_logprobs is None:  # else more of the prompt's scores are to come
                        yield piece
                elif output.finish_reason in ("error", "abort"):
                    raise _gave_up(output)
                if output.hypotheses is not None:
                    for rank, hypothesis in enumerate(output.hypotheses[1:], start=1):
                        yield self._other_result(rank, hypothesis)
                # NOTE: a stop string can end the best result before the others are known.
                if is_ended and (output.finish_reason is not None or self._num_results == 1):
                    return
        raise WorkerCrashedError("The model's process ended the text without saying why.")

    @property
    def _num_results(self) -> int:
        return self.plan.request.params.num_return_sequences

    def _other_result(self, rank: int, hypothesis: Hypothesis) -> Piece:
        plan = replace(self.plan, index=self.plan.index + rank, beam_rank=rank)
        run = SequenceRun(plan, self._engine, self._tokenizer, self._admission)
        output = TokenOutput(
            plan.request.request_id,
            hypothesis.token_ids,
            hypothesis.logprobs,
            hypothesis.finish_reason,
            num_cached_tokens=self._num_cached,
        )
        return replace(run._take(output), score=hypothesis.score)

    def _take(self, output: TokenOutput) -> Piece:
        if output.finish_reason in ("error", "abort"):
            raise _gave_up(output)
        self._num_cached = max(self._num_cached, output.num_cached_tokens)
        self._admission.record_tokens(len(output.token_ids))
        settled: list[SettledToken] = []
        end_token: SettledToken | None = None
        for index, token_id in enumerate(output.token_ids):
            self._num_sampled += 1  # what the step brought beyond a stop string is no part of the text
            logprobs = output.logprobs[index] if output.logprobs is not None else None
            self._sum_logprob += logprobs.logprob if logprobs is not None else 0.0
            if token_id in self.plan.request.params.stop_token_ids:
                end_token = SettledToken(token_id, "", logprobs)
                break
            settled += self._reply.push(token_id, logprobs)
            if self._reply.is_stopped:
                break
        finish_reason: EndReason | None = None
        if self._reply.is_stopped:
            finish_reason = "stop"
        elif output.finish_reason in ("stop", "length"):
            finish_reason = output.finish_reason
        if finish_reason is not None:
            settled += self._reply.finish(has_end_token=finish_reason == "stop" and not self._reply.is_stopped)
        return Piece(
            index=self.plan.index,
            tokens=tuple(settled),
            end_token=end_token,
            finish_reason=finish_reason,
            num_sampled=self._num_sampled,
            num_cached=self._num_cached,
            sum_logprob=self._sum_logprob,
            prompt_logprobs=self._take_prompt_logprobs(output, is_last=finish_reason is not None),
            score=output.hypotheses[0].score if output.hypotheses else None,
        )

    def _take_prompt_logprobs(self, output: TokenOutput, *, is_last: bool) -> PromptLogprobs | None:
        """All of them, once, when the last has come."""
        scores = self._prompt_logprobs
        if scores is None:
            return None
        scores += output.prompt_logprobs or ()
        if len(scores) < len(self.plan.request.prompt_token_ids):
            if is_last or output.token_ids:
                raise EngineError("The engine did not score the whole prompt.")
            return None
        self._prompt_logprobs = None
        return tuple(scores)


def _gave_up(output: TokenOutput) -> EngineError:
    return EngineError(output.error or "The engine gave up this text.")
