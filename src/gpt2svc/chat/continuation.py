"""Going on with a reply that has ended.

A reply that was cut (interrupted, cancelled) is continued exactly: the same prompt, the same tokens, the same seed, up
to the length that it was to have. So is one that ended at its length limit, which gets as much again. One that had come
to its own end gets another draw, and at least one token before it may end again. From an earlier place, with a token
put there by hand perhaps, it goes on as one that was cut there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpt2svc.chat.history import History, KeptReply
from gpt2svc.chat.prompt import TURN_LABELS, Prompt, PromptBudget, build_prompt, encode_messages, has_text
from gpt2svc.chat.turn_request import ReplyCut
from gpt2svc.errors import ContextWindowError, InvalidInputError
from gpt2svc.generation.post_processing import PostProcessing
from gpt2svc.generation.reply_ends import stop_strings_of
from gpt2svc.generation.reply_prefix import ReplyPrefix, prefix_of_ids, prefix_of_text, prefix_of_tokens
from gpt2svc.generation.settings import SETTING_SPECS, SamplingSettings
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.persistence.records import MessageRecord

LENGTH_SETTINGS = ("max_new_tokens", "max_length")
MAX_LENGTH = int(SETTING_SPECS["max_new_tokens"].maximum)


@dataclass(frozen=True, slots=True)
class ContinuationPlan:
    """The settings' lengths are those of the whole reply."""

    prefix: ReplyPrefix
    settings: SamplingSettings
    prompt: Prompt


def plan_continuation(
    history: History,
    asked: Mapping[str, Any],
    tokenizer: Tokenizer,
    budget: PromptBudget,
    *,
    is_same_model: bool,
    n_positions: int,
    length: int,
) -> ContinuationPlan:
    """`asked` lie over the reply's own settings; a length in it, else `length`, is that of what is added.

    Where the window is too small for all of it, more of the earlier turns drop, and then less is added. Raises
    InvalidInputError, and ContextWindowError where not one more token fits.
    """
    kept = history.continued
    if kept is None:
        raise ValueError("There is no reply to continue.")
    message = kept.message
    has_ended_itself = kept.cut is None and message.status == "completed" and message.finish_reason != "length"
    base = SamplingSettings.from_mapping(
        message.settings if message.settings is not None else history.conversation.settings
    )
    given = {name: value for name, value in asked.items() if name not in (*LENGTH_SETTINGS, "min_new_tokens")}
    settings = SamplingSettings.from_mapping(given, base)
    if has_ended_itself and asked.get("seed") is None:
        settings = replace(settings, seed=None)
    stop_strings = stop_strings_of(tokenizer, settings.stop, TURN_LABELS)
    if kept.cut is not None:
        token_ids = reply_token_ids(kept, tokenizer, is_same_model)[0]
        prefix = _cut_prefix(kept.cut, token_ids, tokenizer, stop_strings, settings.processing)
    elif is_same_model and settings.collapse_repeats == base.collapse_repeats:
        prefix = _whole_prefix(kept, tokenizer, stop_strings, settings.processing, was_cut=not has_ended_itself)
    else:
        prefix = prefix_of_text(message.content, tokenizer)
    num_kept = len(prefix.tokens)

    num_added = _length_asked(asked)
    num_made = num_kept
    if kept.cut is None and message.finish_reason == "length" and message.usage is not None:
        # What was made and did not become text, after the last sentence say, is made again.
        num_made = max(num_kept, message.usage.get("completion_tokens", 0))
    if num_added is None and not has_ended_itself and base.max_new_tokens > num_made and message.settings is not None:
        num_new = base.max_new_tokens
    else:
        num_new = num_made + (num_added if num_added is not None else length)
    num_new = min(num_new, MAX_LENGTH)
    prompt = same_prompt(history.path, kept, tokenizer) if prefix.is_as_sampled else None
    if prompt is None or num_new <= num_kept or len(prompt.token_ids) + num_new > n_positions:
        prompt, num_new = _fitting_prompt(history, tokenizer, budget, n_positions, num_kept, num_new)
    settings = replace(settings, max_new_tokens=num_new, min_new_tokens=0)
    num_least = asked.get("min_new_tokens")
    if num_least is None:
        num_least = min(max(base.min_new_tokens, num_kept + 1 if has_ended_itself else 0), num_new)
    settings = SamplingSettings.from_mapping({"min_new_tokens": num_least}, settings)
    return ContinuationPlan(prefix, settings, prompt)


def reply_token_ids(kept: KeptReply, tokenizer: Tokenizer, is_same_model: bool) -> tuple[tuple[int, ...], bool]:
    """The tokens that the model reads for a reply, and whether they are the very ones that it wrote."""
    content = kept.message.content
    own = None
    if is_same_model:
        processing = PostProcessing(collapse_repeats=bool((kept.message.settings or {}).get("collapse_repeats")))
        own = prefix_of_tokens(
            content, kept.tokens, tokenizer, StopStrings((), ()), was_cut=True, processing=processing
        )
    return (own or prefix_of_text(content, tokenizer)).token_ids, own is not None


def _whole_prefix(
    kept: KeptReply, tokenizer: Tokenizer, stop_strings: StopStrings, processing: PostProcessing, *, was_cut: bool
) -> ReplyPrefix:
    """Of the tokens that it was written with, where they still are its text."""
    content = kept.message.content
    own = prefix_of_tokens(content, kept.tokens, tokenizer, stop_strings, was_cut=was_cut, processing=processing)
    return own or prefix_of_text(content, tokenizer)


def _cut_prefix(
    cut: ReplyCut,
    token_ids: tuple[int, ...],
    tokenizer: Tokenizer,
    stop_strings: StopStrings,
    processing: PostProcessing,
) -> ReplyPrefix:
    """Raises InvalidInputError where there is no such place, or no reply could go on from it."""
    count = cut.num_reply_tokens if cut.num_reply_tokens is not None else len(token_ids)
    if count > len(token_ids):
        raise InvalidInputError(
            f"num_reply_tokens must be at most {len(token_ids)}, the tokens of this reply.", field="num_reply_tokens"
        )
    token_ids = token_ids[:count]
    if cut.next_token_id is not None:
        if not tokenizer.token_bytes(cut.next_token_id):
            raise InvalidInputError(
                f"next_token_id {cut.next_token_id} stands for no text: nothing could follow it.", field="next_token_id"
            )
        token_ids += (cut.next_token_id,)
    if not token_ids:
        raise InvalidInputError(
            "num_reply_tokens 0 without next_token_id keeps nothing of the reply: regenerate it.",
            field="num_reply_tokens",
        )
    prefix = prefix_of_ids(token_ids, tokenizer, stop_strings, processing)
    if prefix is None:
        field = "next_token_id" if cut.next_token_id is not None else "num_reply_tokens"
        raise InvalidInputError(f"{field}: the reply ends with this token, so that nothing follows it.", field=field)
    return prefix


def _length_asked(asked: Mapping[str, Any]) -> int | None:
    given = {name: asked[name] for name in LENGTH_SETTINGS if asked.get(name) is not None}
    return SamplingSettings.from_mapping(given).max_new_tokens if given else None


def _fitting_prompt(
    history: History, tokenizer: Tokenizer, budget: PromptBudget, n_positions: int, num_kept: int, num_new: int
) -> tuple[Prompt, int]:
    """A prompt, and the length up to which the reply then fits beside it."""

    def build(num_new: int) -> Prompt:
        return build_prompt(
            history.path,
            tokenizer,
            max_tokens=budget.num_prompt_tokens(n_positions, num_new),
            max_messages=budget.max_messages,
            dropped_before=history.dropped_before,
        )

    num_new = min(num_new, n_positions - 1)
    if num_new > num_kept:
        try:
            return build(num_new), num_new
        except ContextWindowError as error:
            num_new = min(num_new, n_positions - error.num_tokens)  # beside the user's message alone
    if num_new <= num_kept:
        raise ContextWindowError(
            f"The reply has {num_kept} tokens already: no more fit into the model's window of {n_positions}.",
            num_tokens=num_kept,
            max_tokens=max(0, num_new - 1),
            field="message_id",
        )
    return build(num_new), num_new


def same_prompt(path: Sequence[MessageRecord], kept: KeptReply, tokenizer: Tokenizer) -> Prompt | None:
    """The prompt that a reply to the end of `path` was made with, where that can be told."""
    if kept.generation is None:
        return None
    dropped = kept.generation.dropped_message_ids
    messages = [message for message in path if has_text(message) and message.id not in dropped]
    text, token_ids = encode_messages(messages, tokenizer)
    if len(token_ids) != kept.generation.prompt_tokens:
        return None  # by an earlier release, or with another tokenizer
    return Prompt(text, token_ids, dropped)
