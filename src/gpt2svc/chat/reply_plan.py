"""What a reply is to be made with: model, prompt, settings and seed. Everything that can be refused is refused here."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gpt2svc.chat.continuation import plan_continuation
from gpt2svc.chat.history import History
from gpt2svc.chat.prompt import PromptBudget, build_prompt
from gpt2svc.engine.types import ModelInfo
from gpt2svc.errors import InvalidInputError, ModelError, NotFoundError
from gpt2svc.generation.drawn_seed import drawn_seed
from gpt2svc.generation.reply_prefix import ReplyPrefix
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.worker.availability import require_language_model
from gpt2svc.worker.protocol import EngineClient, EnginePool


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    model: str
    model_revision: str
    prompt_token_ids: tuple[int, ...]
    dropped_message_ids: tuple[str, ...]
    settings: SamplingSettings  # with the seed
    seed: int
    prefix: ReplyPrefix | None


class ReplyPlanner:
    def __init__(self, engines: EnginePool, budget: PromptBudget) -> None:
        self._engines = engines
        self._budget = budget

    async def plan(self, history: History, asked: Mapping[str, Any]) -> ReplyPlan:
        """The reply to the end of `history`, with the settings `asked` over the conversation's (a reply's own, where
        one is continued). Raises InvalidInputError, ContextWindowError, NotFoundError, ModelError, UnavailableError.
        """
        model, engine = self._engine(history)
        require_language_model(engine)
        n_positions = engine.n_positions
        kept = history.conversation.settings
        prefix = None
        if history.continued is None:
            settings = self._settings(asked, kept, n_positions)
            prompt = await asyncio.to_thread(
                build_prompt,
                history.path,
                engine.tokenizer,
                max_tokens=self._budget.num_prompt_tokens(n_positions, settings.max_new_tokens),
                max_messages=self._budget.max_messages,
                dropped_before=history.dropped_before,
            )
        else:
            length = self._settings({}, kept, n_positions).max_new_tokens
            continuation = await asyncio.to_thread(
                plan_continuation,
                history,
                asked,
                engine.tokenizer,
                self._budget,
                is_same_model=_is_model_of(history, model, engine),
                n_positions=n_positions,
                length=length,
            )
            settings, prefix, prompt = continuation.settings, continuation.prefix, continuation.prompt
        settings.require_asked(asked)
        settings = settings.as_applied()
        _check_model(settings, engine.state.info)
        seed = settings.seed if settings.seed is not None else drawn_seed()
        return ReplyPlan(
            model=model,
            model_revision=engine.revision,
            prompt_token_ids=prompt.token_ids,
            dropped_message_ids=prompt.dropped_message_ids,
            settings=replace(settings, seed=seed),
            seed=seed,
            prefix=prefix,
        )

    def _engine(self, history: History) -> tuple[str, EngineClient]:
        model = history.conversation.model or self._engines.default_model
        own = history.continued.message.model if history.continued is not None else None
        if own is not None and own != model:
            try:
                return own, self._engines.get(own)
            except (NotFoundError, ModelError, InvalidInputError):
                pass  # imported, or its model was removed: the conversation's goes on
        return model, self._engines.get(model)

    def _settings(self, asked: Mapping[str, Any], kept: Mapping[str, Any], n_positions: int) -> SamplingSettings:
        settings = SamplingSettings.from_mapping(asked, SamplingSettings.from_mapping(kept))
        given = {**kept, **asked}
        if given.get("max_new_tokens") is None and given.get("max_length") is None:
            num_new = self._budget.default_max_new_tokens(n_positions)
            settings = replace(settings, max_new_tokens=num_new, min_new_tokens=min(settings.min_new_tokens, num_new))
        return settings


def _is_model_of(history: History, model: str, engine: EngineClient) -> bool:
    """Whether the continued reply is this very model's, so that its tokens are this one's too."""
    message = history.continued.message if history.continued is not None else None
    return message is not None and (message.model, message.model_revision) == (model, engine.revision)


def _check_model(settings: SamplingSettings, info: ModelInfo | None) -> None:
    if info is None:
        return
    settings.require_beams(info.num_slots)
    largest = settings.logit_bias[-1][0] if settings.logit_bias else 0
    if largest >= info.vocab_size:
        raise InvalidInputError(
            f"settings.logit_bias names token {largest}; {info.name} has tokens 0 to {info.vocab_size - 1}.",
            field="settings.logit_bias",
        )
