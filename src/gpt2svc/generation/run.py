"""One generation from launch to its single ending: reads the engine, publishes, and has the result stored."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from gpt2svc.engine.types import EngineRequest, TokenOutput
from gpt2svc.errors import Gpt2svcError, NotFoundError, UnavailableError, WorkerCrashedError
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.continued_text import AnyReplyText, ContinuedText
from gpt2svc.generation.ending import Ending, deadline_ending, ending_of_output
from gpt2svc.generation.events import Done, Failed, Started, Token
from gpt2svc.generation.job import GenerationJob
from gpt2svc.generation.live_log import LiveLog
from gpt2svc.generation.log_writer import LogEntry, LogWriter
from gpt2svc.generation.reply_ends import stop_strings_of, stop_token_ids_of
from gpt2svc.generation.reply_meter import ReplyMeter
from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.settled_token import SettledToken
from gpt2svc.generation.token_logprobs import logprobs_mapping
from gpt2svc.metrics import Metrics
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.persistence.records import GenerationResult
from gpt2svc.request_context import current_deadline
from gpt2svc.worker.protocol import EnginePool

logger = logging.getLogger(__name__)


class GenerationRun:
    """`execute` is the body of the generation's task; `end_early` may be called at any time from outside it.

    `execute` does not return before the end is published. `on_settled` is called once, when the end is also stored (or
    there is nothing left to store it in): until then the log in memory is the truth.
    """

    def __init__(
        self,
        job: GenerationJob,
        log: LiveLog,
        *,
        engines: EnginePool,
        writer: LogWriter,
        admission: Admission,
        metrics: Metrics,
        on_settled: Callable[[], None],
    ) -> None:
        self.job = job
        self.log = log
        self._engines = engines
        self._writer = writer
        self._admission = admission
        self._on_settled = on_settled
        self._meter = ReplyMeter(
            metrics,
            identifier=job.generation_id,
            owner=job.owner,
            model=job.model,
            num_prompt_tokens=len(job.prompt_token_ids),
        )
        self._entry = LogEntry(log, self._fail_for_storage)
        self._early_ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._tokenizer: Tokenizer | None = None
        self._reply: AnyReplyText | None = None
        self._prefix_text = job.prefix.text if job.prefix is not None else ""
        self._prefix_token_ids = job.prefix.token_ids if job.prefix is not None else ()
        self._is_ended_by_model = False
        self._num_sampled = 0
        self._num_cached = 0
        self._accepted_at = time.monotonic()
        self._submitted_at: float | None = None
        self._first_token_at: float | None = None

    def end_early(self, ending: Ending) -> None:
        """Stop generating and end so. The first call counts, and none does once the engine has brought the end."""
        if not self._early_ending.done():
            self._early_ending.set_result(ending)

    async def execute(self) -> None:
        """In the context of the request, whose deadline is the reply's too."""
        deadline = current_deadline()
        timer = self._expire_at(deadline) if deadline is not None else None
        try:
            await self._conclude(self._publish_rest(await self._generate()))
        finally:
            if timer is not None:
                timer.cancel()
            self.job.permit.release()

    def _expire_at(self, deadline: float) -> asyncio.TimerHandle | None:
        remaining_s = deadline - time.monotonic()
        if remaining_s > 0:
            return asyncio.get_running_loop().call_later(remaining_s, self._expire)
        self._expire()
        return None

    def _expire(self) -> None:
        self.end_early(deadline_ending(is_started=self._first_token_at is not None))

    async def _generate(self) -> Ending:
        if self._early_ending.done():
            return self._early_ending.result()  # over before it began: the engine need not hear of it
        reader = asyncio.create_task(self._read_engine(), name=f"read-{self.job.generation_id}")
        try:
            await asyncio.wait({reader, self._early_ending}, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                reader.cancel()  # leaving the engine's iterator aborts the request
                await asyncio.wait({reader})
                if reader.cancelled() or reader.exception() is not None:
                    return self._early_ending.result()
            return reader.result()
        except Exception as error:
            return self._ending_of(error)
        finally:
            reader.cancel()

    async def _read_engine(self) -> Ending:
        engine = self._engines.get(self.job.model)
        self._tokenizer = tokenizer = engine.tokenizer
        stop_strings = stop_strings_of(tokenizer, self.job.settings.stop, self.job.turn_labels)
        prefix = self.job.prefix
        processing = self.job.settings.processing
        self._reply = reply = (
            ReplyText(tokenizer, stop_strings, processing=processing)
            if prefix is None
            else ContinuedText(tokenizer, stop_strings, prefix, processing)
        )
        stop_token_ids = stop_token_ids_of(tokenizer, is_reply=True)
        request = EngineRequest(
            request_id=self.job.generation_id,
            prompt_token_ids=self.job.prompt_token_ids + self._prefix_token_ids,
            params=self.job.settings.to_params(seed=self.job.seed, stop_token_ids=stop_token_ids),
            owner=self.job.owner,
            num_reply_tokens=len(self._prefix_token_ids),
        )
        self._submitted_at = time.monotonic()
        outputs = engine.submit(request)
        try:
            async for output in outputs:
                self._take(output, stop_token_ids, reply, tokenizer)
                if reply.is_stopped:
                    return Ending("completed", "stop")
                if output.finish_reason is not None:
                    return ending_of_output(output)
        finally:
            close: Any = getattr(outputs, "aclose", None)
            if close is not None:
                await close()
        raise WorkerCrashedError("The model's process ended the reply without saying why.")

    def _take(
        self, output: TokenOutput, stop_token_ids: tuple[int, ...], reply: AnyReplyText, tokenizer: Tokenizer
    ) -> None:
        self._num_cached = max(self._num_cached, output.num_cached_tokens)
        if not output.token_ids and output.finish_reason not in ("stop", "length"):
            return
        if self._first_token_at is None:
            self._first_token_at = time.monotonic()
            self._publish_start()
        self._admission.record_tokens(len(output.token_ids))
        token_ids = output.token_ids
        if output.finish_reason == "stop":
            self._is_ended_by_model = True
            if token_ids and token_ids[-1] in stop_token_ids:
                token_ids = token_ids[:-1]
        num_sampled = len(output.token_ids)
        for index, token_id in enumerate(token_ids):
            logprobs = output.logprobs[index] if output.logprobs is not None else None
            self._publish_tokens(reply.push(token_id, logprobs), tokenizer)
            if reply.is_stopped:
                num_sampled = index + 1  # what the step brought beyond a stop string is no part of the reply
                break
        self._num_sampled += num_sampled
        self._meter.add_tokens(num_sampled, self._num_cached)

    def _publish_start(self) -> None:
        job = self.job
        self.log.publish(
            Started(
                model=job.model,
                model_revision=job.model_revision,
                prompt_tokens=len(job.prompt_token_ids),
                seed=job.seed,
                dropped_message_ids=job.dropped_message_ids,
                settings={**job.settings.to_mapping(), "seed": job.seed},
            )
        )
        self._writer.mark_due(self._entry)

    def _publish_tokens(self, settled: list[SettledToken], tokenizer: Tokenizer) -> None:
        for token in settled:
            logprobs = logprobs_mapping(token.logprobs, tokenizer) if token.logprobs is not None else None
            self.log.publish(
                Token(id=len(self.log.tokens) + 1, text=token.text, token_id=token.token_id, logprobs=logprobs)
            )
        if settled:
            self._writer.mark_due(self._entry)

    def _publish_rest(self, ending: Ending) -> Ending:
        """Publish what was held back and turns out to be text."""
        try:
            if self._reply is not None and self._tokenizer is not None:
                self._publish_tokens(self._reply.finish(has_end_token=self._is_ended_by_model), self._tokenizer)
        except Exception as error:
            return self._ending_of(error)
        return ending

    async def _conclude(self, ending: Ending) -> None:
        result = self._result(ending)
        try:
            await self._writer.finish(self._entry, result)
        except Exception as error:
            if ending.status != "failed":
                ending = self._ending_of(error)
                result = self._result(ending)
            self._publish_end(ending, result)
            if isinstance(error, NotFoundError):
                self._on_settled()  # deleted meanwhile: nothing is left to store it in
            else:
                self._writer.settle_later(self._entry, result, self._on_settled)
        else:
            self._publish_end(ending, result)
            self._on_settled()

    def _result(self, ending: Ending) -> GenerationResult:
        return GenerationResult(
            status=ending.status,
            finish_reason=ending.finish_reason,
            text=self._prefix_text + self.log.text,
            usage=self._usage(),
            timings=self._timings(),
            error_code=ending.code,
            error=ending.message,
            new_tokens=self.log.records_after(self._entry.num_stored),
        )

    def _publish_end(self, ending: Ending, result: GenerationResult) -> None:
        self._meter.end(ending.status, ending.finish_reason, ending.code)
        identifier = len(self.log.tokens) + 1
        if ending.status == "completed" or ending.status == "cancelled":
            self.log.publish(
                Done(identifier, ending.status, ending.finish_reason, usage=result.usage, timings=result.timings)
            )
            return
        self.log.publish(
            Failed(
                identifier,
                ending.status,
                code=ending.code or ending.status,
                message=ending.message or "The reply ended early.",
                usage=result.usage,
                num_tokens=self._entry.num_stored,
            )
        )

    def _usage(self) -> dict[str, int]:
        num_prompt = len(self.job.prompt_token_ids)
        num_reply = len(self._prefix_token_ids) + self._num_sampled
        return {
            "prompt_tokens": num_prompt,
            "completion_tokens": num_reply,
            "total_tokens": num_prompt + num_reply,
            "cached_tokens": self._num_cached,
        }

    def _timings(self) -> dict[str, float]:
        """Seconds since the reply was accepted; `prefill` includes the engine's own queue."""
        now = time.monotonic()
        submitted = self._submitted_at if self._submitted_at is not None else now
        timings = {"queued": submitted - self._accepted_at, "total": now - self._accepted_at}
        if self._first_token_at is not None:
            timings["prefill"] = self._first_token_at - submitted
            decoding = now - self._first_token_at
            if decoding > 0 and self._num_sampled > 1:
                timings["tokens_per_second"] = (self._num_sampled - 1) / decoding
        return {name: round(value, 6) for name, value in timings.items()}

    def _fail_for_storage(self, error: Exception) -> None:
        self.end_early(self._ending_of(error))

    def _ending_of(self, error: Exception) -> Ending:
        if isinstance(error, WorkerCrashedError):
            return Ending("interrupted", "error", error.code, error.message)
        if isinstance(error, UnavailableError) and self._num_sampled:
            return Ending("interrupted", "error", error.code, error.message)
        if isinstance(error, Gpt2svcError):
            return Ending("failed", "error", error.code, error.message)
        logger.error("Generation %s failed", self.job.generation_id, exc_info=error)
        return Ending("failed", "error", Gpt2svcError.code, "An internal error ended the reply; the log has details.")
