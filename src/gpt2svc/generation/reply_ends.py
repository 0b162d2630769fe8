"""What ends a reply, beside its length: the next turn, as the model's format begins it, and the user's stop strings."""

from collections.abc import Sequence

from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer


def stop_strings_of(tokenizer: Tokenizer, stop: Sequence[str], turn_labels: Sequence[str]) -> StopStrings:
    """Of a reply in a conversation; of other text where there are no `turn_labels`, which a model's own template
    replaces."""
    template = tokenizer.chat_template
    if template is None or not turn_labels:
        return StopStrings(stop, turn_labels, tokenizer.tokenization)
    markers = template.markers
    return StopStrings((*stop, *markers.stop), markers.turn_labels, tokenizer.tokenization)


def stop_token_ids_of(tokenizer: Tokenizer, *, is_reply: bool) -> tuple[int, ...]:
    """The end-of-text token; of a reply also those by which the model's own template ends a message."""
    ends: tuple[int, ...] = (tokenizer.eos_token_id,) if tokenizer.eos_token_id is not None else ()
    template = tokenizer.chat_template
    if template is not None and is_reply:
        ends += template.markers.end_token_ids
    return tuple(dict.fromkeys(ends))
