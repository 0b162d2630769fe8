"""An engine in the command's own process: for `generate` and `chat`, which need no service."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Self

from gpt2svc.cli.completion_text import CompletionText
from gpt2svc.engine.sampling_params import NO_TOKENS
from gpt2svc.engine.types import (
    EngineRequest,
    FinishReason,
    Hypothesis,
    ModelInfo,
    NextToken,
    Pooling,
    Scoring,
    TokenOutput,
)
from gpt2svc.errors import ContextWindowError, EngineError
from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.settled_token import SettledToken
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.models.task_head import TaskHead
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.worker.cpu import apply_cpu_options
from gpt2svc.worker.options import WorkerOptions

if TYPE_CHECKING:
    from gpt2svc.config import Settings
    from gpt2svc.engine.core import EngineCore


class LocalReply:
    """One sequence being written: tokens of the engine in, settled text out."""

    def __init__(self, request: EngineRequest, text: CompletionText | ReplyText) -> None:
        self.request = request
        self.num_tokens = 0  # that the engine has made, an end-of-text token included
        self.num_cached_tokens = 0
        self.finish_reason: FinishReason | None = None
        self.others: Sequence[LocalReply] = ()  # for the further results of its beam search, which come at the end
        self.score: float | None = None  # of a beam search's result
        self._is_searched = False
        self._text = text

    @property
    def is_over(self) -> bool:
        """Whether nothing more is wanted of the engine; a stop string can end a text before a search knows the rest."""
        if self.finish_reason is None:
            return False
        return self._is_searched or not self.others

    def take(self, output: TokenOutput) -> list[SettledToken]:
        """Raises EngineError when the engine gave up."""
        if output.finish_reason == "error":
            raise EngineError(output.error or "The engine could not go on.")
        if output.hypotheses:
            self.score, self._is_searched = output.hypotheses[0].score, True
        if self.finish_reason is not None:
            return []
        self.num_cached_tokens = max(self.num_cached_tokens, output.num_cached_tokens)
        token_ids = output.token_ids
        if output.finish_reason == "stop" and token_ids and token_ids[-1] in self.request.params.stop_token_ids:
            token_ids = token_ids[:-1]
        num_tokens = len(output.token_ids)
        settled = []
        for index, token_id in enumerate(token_ids):
            settled += self._text.push(token_id, output.logprobs[index] if output.logprobs is not None else None)
            if self._text.is_stopped:
                num_tokens = index + 1  # what the step brought beyond a stop string is no part of the text
                break
        self.num_tokens += num_tokens
        if self._text.is_stopped:
            self.finish_reason = "stop"
        elif output.finish_reason is not None:
            self.finish_reason = output.finish_reason
        if self.finish_reason is not None:
            settled += self._text.finish(has_end_token=output.finish_reason == "stop")
        return settled

    def take_whole(self, hypothesis: Hypothesis) -> list[SettledToken]:
        """All of it at once."""
        self.score = hypothesis.score
        return self.take(
            TokenOutput(self.request.request_id, hypothesis.token_ids, hypothesis.logprobs, hypothesis.finish_reason)
        )


class LocalEngine:
    """A loaded model. Not thread-safe."""

    def __init__(self, core: "EngineCore", info: ModelInfo, tokenizer: Tokenizer, head: TaskHead | None = None) -> None:
        self._core = core
        self.info = info
        self.tokenizer = tokenizer
        self.head = head  # of the model's task

    @classmethod
    def load(cls, settings: "Settings", *, max_num_seqs: int = 1) -> Self:
        """The settings' model: "starter", a pulled hub name or a folder.

        Raises InvalidInputError, ModelError, ConfigError.
        """
        folder = ModelCatalogue(settings.models_dir).require(settings.model, allow_folder=True)
        tokenizer = folder.load_chat_tokenizer(settings.chat_template)
        apply_cpu_options(WorkerOptions(settings.model, models_dir=str(settings.models_dir)), os.environ)
        from gpt2svc.engine.loader import load_engine  # brings torch, which takes its time: last

        core, info = load_engine(
            folder,
            device=settings.device,
            dtype=settings.dtype,
            quantize=settings.quantize,
            config=settings.engine_config(max_num_seqs),
        )
        return cls(core, info, tokenizer, folder.config.head)

    def check_window(self, num_prompt_tokens: int, max_new_tokens: int) -> None:
        """Raises ContextWindowError when prompt and reply don't fit together."""
        limit = self.info.n_positions - max_new_tokens
        if num_prompt_tokens > limit:
            raise ContextWindowError(
                f"The prompt has {num_prompt_tokens} tokens; at most {max(limit, 0)} fit beside --max-new-tokens "
                f"{max_new_tokens} in the model's window of {self.info.n_positions}.",
                num_tokens=num_prompt_tokens,
                max_tokens=max(limit, 0),
                field="prompt",
            )

    def next_token(self, token_ids: tuple[int, ...], scoring: Scoring) -> NextToken:
        """The model's own distribution after these tokens. Raises InvalidInputError, EngineError."""
        self._core.add_request(EngineRequest("next-token", token_ids, NO_TOKENS, scoring=scoring))
        found, error = None, None
        while self._core.has_work:
            for output in self._core.step():
                found, error = output.next_token or found, output.error or error
        if found is None:
            raise EngineError(error or "The engine brought no distribution.")
        return found

    def read(self, texts: Sequence[tuple[int, ...]], wanted: Pooling | Scoring) -> list[list[TokenOutput]]:
        """What the engine tells of each text, all side by side. Raises InvalidInputError, EngineError."""
        outputs: list[list[TokenOutput]] = [[] for _ in texts]
        pooling = wanted if isinstance(wanted, Pooling) else None
        scoring = wanted if isinstance(wanted, Scoring) else None
        for index, token_ids in enumerate(texts):
            self._core.add_request(EngineRequest(str(index), token_ids, NO_TOKENS, scoring=scoring, pooling=pooling))
        while self._core.has_work:
            for output in self._core.step():
                outputs[int(output.request_id)].append(output)
                if output.finish_reason == "error":
                    raise EngineError(output.error or "The engine could not go on.")
        return outputs

    def write(self, replies: Sequence[LocalReply]) -> Iterator[tuple[LocalReply, list[SettledToken]]]:
        """All of `replies` side by side: each with what has just been settled of it, until the last has ended.

        Ctrl-C comes out as KeyboardInterrupt between two steps; then, and when the iterator is closed early, the
        engine drops what is unfinished and can go on with other work.
        """
        open_replies = {reply.request.request_id: reply for reply in replies}
        try:
            with _deferred_interrupt() as raise_interrupt:
                for reply in replies:
                    self._core.add_request(reply.request)
                while open_replies:
                    raise_interrupt()
                    for output in self._core.step():
                        open_reply = open_replies.get(output.request_id)
                        if open_reply is None:
                            continue
                        settled = open_reply.take(output)
                        if open_reply.is_over:
                            del open_replies[output.request_id]
                            self._core.abort(output.request_id)  # known no more where the engine itself ended it
                        yield open_reply, settled
                        for other, hypothesis in zip(open_reply.others, (output.hypotheses or ())[1:], strict=False):
                            yield other, other.take_whole(hypothesis)
        finally:
            for request_id in open_replies:
                self._core.abort(request_id)
            while self._core.has_work:
                self._core.step()


@contextmanager
def _deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back until the yielded function is called, so that no step of the engine is cut in half."""
    is_pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal is_pressed
        is_pressed = True

    def raise_if_pressed() -> None:
        if is_pressed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield raise_if_pressed
    finally:
        signal.signal(signal.SIGINT, before)
