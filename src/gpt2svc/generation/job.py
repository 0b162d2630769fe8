"""A reply to be made: everything the supervisor needs, frozen when the reply was accepted."""

from dataclasses import dataclass

from gpt2svc.generation.admission import Permit
from gpt2svc.generation.reply_prefix import ReplyPrefix
from gpt2svc.generation.settings import SamplingSettings


@dataclass(frozen=True, slots=True)
class GenerationJob:
    generation_id: str
    conversation_id: str
    message_id: str  # the assistant's message that is to be written
    user_message_id: str
    owner: str
    model: str
    model_revision: str
    prompt_token_ids: tuple[int, ...]
    settings: SamplingSettings
    seed: int
    dropped_message_ids: tuple[str, ...]
    turn_labels: tuple[str, ...]  # a line that begins with one ends the reply: "User:", "Assistant:"
    prefix: ReplyPrefix | None  # the beginning of a reply that is continued; settings and usage count it
    permit: Permit  # the supervisor's from `launch` on: it releases it when the generation has ended
