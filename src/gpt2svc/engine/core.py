"""EngineCore: the generation loop, one step at a time. No threads and no asyncio."""

import logging
from dataclasses import replace
from typing import NamedTuple

import torch

from gpt2svc.engine.beam_requests import BeamRequests
from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.kv_cache import KVCache
from gpt2svc.engine.logprobs import PromptScores, score_prompt
from gpt2svc.engine.model import Cache, Model
from gpt2svc.engine.pooling import Pooler
from gpt2svc.engine.request_check import check_beams, check_request, check_task
from gpt2svc.engine.sampler import Sampler
from gpt2svc.engine.sampling_batch import NOT_A_NUMBER, SampledToken
from gpt2svc.engine.scheduler import Scheduled, Scheduler
from gpt2svc.engine.sequence import Sequence
from gpt2svc.engine.speculation import Speculation
from gpt2svc.engine.types import EngineRequest, EngineStats, FinishReason, TokenOutput
from gpt2svc.engine.verification import Verification
from gpt2svc.errors import EngineError, InvalidInputError
from gpt2svc.models.chunk import Chunk

_log = logging.getLogger(__name__)


class EngineCore:
    """Continues many sequences at once: a request may join or leave between any two steps.

    Not thread-safe: whoever owns it calls everything from one thread.
    """

    def __init__(self, model: Model, config: EngineConfig) -> None:
        self._model = model
        self._store: Cache = model.new_cache(config.max_num_seqs)
        self._cache = KVCache(self._store, config.max_num_seqs, is_prefix_reuse_enabled=config.is_prefix_reuse_enabled)
        self._scheduler = Scheduler(config, self._cache)
        self._sampler = Sampler(config.max_num_seqs, model.n_positions, model.vocab_size, model.device)
        self._pooler = Pooler(model.head)
        self._beams = BeamRequests(self._cache)
        # On a GPU the bits of a row may depend on the rows beside it: there a draft could change the reply.
        is_speculating = config.is_speculation_enabled and model.device.type == "cpu"
        self._speculation = Speculation(config.max_num_batched_tokens) if is_speculating else None
        self._sequences: dict[str, Sequence] = {}
        self._outputs: list[TokenOutput] = []  # of requests that ended between steps
        self._num_generated_tokens = 0
        self._num_steps = 0

    @property
    def has_work(self) -> bool:
        """Whether a `step` would bring something: requests in progress, or ends not yet handed over."""
        return bool(self._sequences or self._outputs)

    @property
    def stats(self) -> EngineStats:
        return EngineStats(
            num_running=len(self._scheduler.running),
            num_waiting=len(self._scheduler.waiting),
            num_free_slots=self._cache.num_free_slots,
            num_slots=self._cache.num_slots,
            num_generated_tokens=self._num_generated_tokens,
            num_steps=self._num_steps,
            num_admitted=self._scheduler.num_admitted,
            queued_s=self._scheduler.queued_s,
        )

    @property
    def num_cache_bytes(self) -> int:
        """Size of the KV cache with all slots full."""
        return self._store.num_bytes

    def add_request(self, request: EngineRequest) -> None:
        """Queue a request; its first token comes from a later `step`.

        Raises InvalidInputError (ContextWindowError where it can't fit the window) that names the field; the engine
        is then as before.
        """
        if request.request_id in self._sequences:
            raise InvalidInputError(
                f"A request with the id {request.request_id!r} is already in progress.", field="request_id"
            )
        check_request(request, n_positions=self._model.n_positions, vocab_size=self._model.vocab_size)
        check_task(request, has_head=self._model.head is not None, is_language_model=self._model.is_language_model)
        check_beams(request.params, num_slots=self._cache.num_slots, vocab_size=self._model.vocab_size)
        sequence = Sequence.of_request(request)
        self._beams.add(sequence)
        self._sequences[request.request_id] = sequence
        self._scheduler.add(sequence)

    def abort(self, request_id: str) -> None:
        """Drop a request in any state: the next `step` ends it with finish_reason "abort". Unknown ids are ignored."""
        sequence = self._sequences.get(request_id)
        if sequence is not None:
            self._end(sequence)
            self._outputs.append(self._output(sequence, finish_reason="abort"))

    def step(self) -> list[TokenOutput]:
        """Schedule, run, sample, update: at most one TokenOutput a request.

        Never raises for what a request brought about: a failing step ends the requests it held with finish_reason
        "error", and the engine goes on with the others.
        """
        outputs, self._outputs = self._outputs, []
        if not self._sequences:
            return outputs
        self._num_steps += 1
        scheduled: list[Scheduled] = []
        try:
            scheduled = self._scheduler.schedule()
            if self._speculation is not None:
                scheduled = self._speculation.add_drafts(scheduled)
            ready = [item for item in scheduled if item.is_sampled and not item.sequence.is_only_scored]
            sampled = [item for item in ready if not item.sequence.request.params.is_beam_search]
            beams = [item for item in ready if item.sequence.request.params.is_beam_search]
            run = self._run(scheduled, sampled, beams)
        except Exception as error:
            _log.exception("A step of the engine failed")
            return outputs + self._fail(scheduled, error)
        for item in scheduled:
            self._scheduler.computed(item)
        replies = [
            self._with_scores(self._accept(item.sequence, token), run.scores.pop(item.sequence.request_id, None))
            for item, token in zip(sampled, run.tokens, strict=True)
        ]
        if any(item.draft for item in sampled):
            self._verify(sampled, run, replies)
        outputs += replies
        if beams:
            outputs += [self._ended(output) for output in self._beams.advance()]
        outputs += [
            self._with_scores(self._score(item), run.scores[item.sequence.request_id])
            for item in scheduled
            if item.sequence.request_id in run.scores
        ]
        outputs += [
            self._pooled(item.sequence, run.pooled[item.sequence.request_id])
            for item in scheduled
            if item.sequence.request_id in run.pooled
        ]
        return outputs

    def check_integrity(self) -> None:
        """Raises EngineError where the books of queues, slots and prefixes do not balance. For tests and idle times."""
        self._scheduler.check_integrity()
        known = [*self._scheduler.waiting, *self._scheduler.running]
        if len(known) != len(self._sequences) or any(self._sequences.get(s.request_id) is not s for s in known):
            raise EngineError("Engine: the requests in progress are not those of the scheduler.")

    def _run(self, scheduled: list[Scheduled], sampled: list[Scheduled], beams: list[Scheduled]) -> "_Run":
        chunks = [
            Chunk(
                slot=item.sequence.slot,
                start=item.sequence.num_computed_tokens,
                token_ids=[*item.sequence.next_token_ids(item.num_tokens), *item.draft],
                is_sampled=item.is_sampled and item.sequence.request.pooling is None,
                num_scored=1 + len(item.draft) if item.draft else item.num_scored,
                num_pooled=item.num_pooled,
            )
            for item in scheduled
        ]
        pooled: dict[str, bytes | None] = {}
        if any(chunk.num_pooled for chunk in chunks):
            logits, hidden = self._model.forward_with_hidden(chunks, self._store)
            pooled = self._pooler.add(scheduled, hidden)
        else:
            logits = self._model.forward(chunks, self._store)
        scores: dict[str, PromptScores] = {}
        first_rows = list(range(len(sampled)))
        first = logits
        if beams or any(chunk.num_scored for chunk in chunks):
            first_rows = []
            beam_rows: dict[Sequence, int] = {}
            end = 0
            for item, chunk in zip(scheduled, chunks, strict=True):
                end += chunk.num_logits
                request = item.sequence.request
                if request.scoring is not None and item.num_scored:
                    start = chunk.start + len(chunk.token_ids) - chunk.num_scored
                    own = logits[end - chunk.num_scored : end]
                    scores[request.request_id] = score_prompt(request, request.scoring, own, start)
                if request.params.is_beam_search and item.is_sampled:
                    beam_rows[item.sequence] = end - 1
                elif item.is_sampled and not item.sequence.is_only_scored:
                    first_rows.append(end - 1 - len(item.draft))
            first = logits[torch.tensor(first_rows, dtype=torch.int64, device=logits.device)]
            if beams:
                self._beams.choose(logits, beam_rows)
        tokens = self._sampler.sample(first, [item.sequence for item in sampled]) if sampled else []
        return _Run(tokens, scores, pooled, logits, first_rows)

    def _verify(self, sampled: list[Scheduled], run: "_Run", replies: list[TokenOutput]) -> None:
        """Go on with each of `replies` for as long as its draft is right."""
        verification = Verification(sampled, run.first_rows, replies)
        while items := verification.advance():
            for item in items:
                self._scheduler.computed(item._replace(num_tokens=1))
            rows = torch.tensor(verification.rows, device=run.logits.device)
            try:
                tokens = self._sampler.sample(run.logits[rows], [item.sequence for item in items])
            except Exception as error:
                _log.exception("A step of the engine failed")
                verification.add(self._fail(items, error))
            else:
                verification.add([self._accept(item.sequence, tok) for item, tok in zip(items, tokens, strict=True)])

    def _score(self, item: Scheduled) -> TokenOutput:
        """Of a prompt that is not sampled from in this step: the end where it is only scored and that is done."""
        sequence = item.sequence
        if not sequence.is_only_scored or sequence.num_uncomputed_tokens:
            return TokenOutput(sequence.request_id, num_cached_tokens=sequence.num_cached_tokens)
        self._end(sequence)
        return self._output(sequence, finish_reason="length")

    def _with_scores(self, output: TokenOutput, scores: PromptScores | None) -> TokenOutput:
        if scores is None:
            return output
        if not scores.is_number:
            sequence = self._sequences.get(output.request_id)
            if sequence is not None:
                self._end(sequence, is_cache_valid=False)
            return replace(output, token_ids=(), logprobs=None, finish_reason="error", error=NOT_A_NUMBER)
        return replace(output, prompt_logprobs=scores.logprobs, next_token=scores.next_token)

    def _pooled(self, sequence: Sequence, vector: bytes | None) -> TokenOutput:
        self._end(sequence, is_cache_valid=vector is not None)
        if vector is None:
            return self._output(sequence, finish_reason="error", error=NOT_A_NUMBER)
        return replace(self._output(sequence, finish_reason="length"), pooled=vector)

    def _ended(self, output: TokenOutput) -> TokenOutput:
        """What a beam search brought; it is over where the output says so."""
        self._num_generated_tokens += len(output.token_ids)
        if output.finish_reason is not None:
            self._end(self._sequences[output.request_id], is_cache_valid=output.finish_reason != "error")
        return output

    def _accept(self, sequence: Sequence, token: SampledToken) -> TokenOutput:
        if token.error is not None:
            self._end(sequence, is_cache_valid=False)
            return self._output(sequence, finish_reason="error", error=token.error)
        params = sequence.request.params
        sequence.token_ids.append(token.token_id)
        self._num_generated_tokens += 1
        finish_reason: FinishReason | None = None
        if token.token_id in params.stop_token_ids:
            finish_reason = "stop"
        elif sequence.num_new_tokens >= params.max_new_tokens:
            finish_reason = "length"
        if finish_reason is not None:
            self._end(sequence)
        return TokenOutput(
            request_id=sequence.request_id,
            token_ids=(token.token_id,),
            logprobs=None if token.logprobs is None else (token.logprobs,),
            finish_reason=finish_reason,
            num_cached_tokens=sequence.num_cached_tokens,
        )

    def _fail(self, scheduled: list[Scheduled], error: Exception) -> list[TokenOutput]:
        """End what the failing step held. Where it failed before it held anything, that is the oldest request."""
        held = [self._sequences[i] for i in dict.fromkeys(item.sequence.request_id for item in scheduled)]
        if not held:
            held = [*self._scheduler.waiting][:1] or [*self._scheduler.running][:1]
        message = f"The engine failed: {type(error).__name__}: {error}"
        for sequence in held:
            self._end(sequence, is_cache_valid=False)
        return [self._output(sequence, finish_reason="error", error=message) for sequence in held]

    def _end(self, sequence: Sequence, *, is_cache_valid: bool = True) -> None:
        self._sampler.forget(sequence)
        if self._speculation is not None:
            self._speculation.forget(sequence)
        self._pooler.forget(sequence)
        self._beams.forget(sequence)
        self._scheduler.finish(sequence, is_cache_valid=is_cache_valid)
        del self._sequences[sequence.request_id]

    def _output(self, sequence: Sequence, *, finish_reason: FinishReason, error: str | None = None) -> TokenOutput:
        return TokenOutput(
            request_id=sequence.request_id,
            finish_reason=finish_reason,
            error=error,
            num_cached_tokens=sequence.num_cached_tokens,
        )


class _Run(NamedTuple):
    """What a call of the model brought."""

    tokens: list[SampledToken]  # the next one of each sampled sequence
    scores: dict[str, PromptScores]  # by request: what is told of the prompts that are scored
    pooled: dict[str, bytes | None]  # by request: the vectors of prompts
    logits: torch.Tensor  # (num_logits, vocab_size)
    first_rows: list[int]  # in `logits`, of each sampled sequence; those of its draft follow
