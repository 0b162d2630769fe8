"""Next-token distributions and perplexity on the wire."""

from typing import Annotated

from pydantic import BaseModel, Field, Strict

from gpt2svc.api.schemas.messages import MAX_ID_LENGTH
from gpt2svc.api.schemas.values import AS_INT, ModelName, RequestBody, Text
from gpt2svc.chat.next_token_prompt import PlaceInConversation
from gpt2svc.chat.scoring import MAX_TOP, NextTokenResult, PerplexityResult, TokensResult
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH
from gpt2svc.errors import InvalidInputError

Identifier = Annotated[Text, Field(min_length=1, max_length=MAX_ID_LENGTH)]
TokenCount = Annotated[int, Strict(), Field(ge=0, le=100_000), AS_INT]


class NextTokenIn(RequestBody):
    """A text, or a place in a conversation."""

    prompt: Annotated[Text, Field(min_length=1, max_length=MAX_CONTENT_LENGTH)] | None = Field(
        None, description="A text, read as it is. Or else give `conversation_id`."
    )
    conversation_id: Identifier | None = Field(None, description="The prompt is what its next reply would read.")
    message_id: Identifier | None = Field(
        None, description="A user's message: before a reply to it. A reply: after it. Left out: the newest message."
    )
    prefix: Annotated[Text, Field(max_length=MAX_CONTENT_LENGTH)] | None = Field(
        None, description="What the reply has said so far, in place of the whole of it."
    )
    num_reply_tokens: TokenCount | None = Field(
        None, description="After so many of the reply's own tokens, in place of the whole of it."
    )
    model: ModelName | None = Field(None, description="Left out: the conversation's, or the service's default.")
    top_n: Annotated[int, Strict(), Field(ge=0, le=MAX_TOP), AS_INT] = Field(
        default=20, description="How many of the likeliest tokens to list."
    )
    full: Annotated[bool, Strict()] = Field(
        default=False, description="Answer with the whole distribution, as `Accept: application/octet-stream` does."
    )

    def subject(self) -> str | PlaceInConversation:
        """Raises InvalidInputError unless it is one of the two."""
        if (self.prompt is None) == (self.conversation_id is None):
            raise InvalidInputError("Give either prompt or conversation_id.", field="prompt")
        if self.conversation_id is not None:
            return PlaceInConversation(self.conversation_id, self.message_id, self.prefix, self.num_reply_tokens)
        for name in ("message_id", "prefix", "num_reply_tokens"):
            if getattr(self, name) is not None:
                raise InvalidInputError(f"{name} goes with conversation_id, not with prompt.", field=name)
        return self.prompt or ""


class NextTokenChoice(BaseModel):
    token_id: int
    text: str = Field(description="A part of a character shows as U+FFFD.")
    logprob: float


class NextTokenOut(BaseModel):
    model: str
    model_revision: str
    prompt_tokens: int
    entropy: float = Field(description="Of the whole distribution, in nats.")
    tokens: list[NextTokenChoice] = Field(description="Likeliest first, before any setting acts on them.")

    @classmethod
    def of(cls, result: NextTokenResult) -> "NextTokenOut":
        return cls(
            model=result.model,
            model_revision=result.model_revision,
            prompt_tokens=result.num_prompt_tokens,
            entropy=result.next_token.entropy,
            tokens=[
                NextTokenChoice(token_id=token_id, text=text, logprob=logprob)
                for (token_id, logprob), text in zip(result.next_token.top, result.texts, strict=True)
            ],
        )


class MessageTokensOut(BaseModel):
    model: str
    model_revision: str
    n_positions: int = Field(description="The model's window in tokens.")
    eos_token_id: int | None = Field(description="The token that ends a reply.")
    prompt: str = Field(description="The text that the model read before the reply.")
    prompt_token_ids: list[int]
    dropped_message_ids: list[str] = Field(description="Older messages that the prompt left out.")
    reply_token_ids: list[int]
    is_exact: bool = Field(
        description="Whether these are the very tokens of the reply's making. Else the ones that the model reads for "
        "its text: it was edited, imported, or made by another model."
    )

    @classmethod
    def of(cls, result: TokensResult) -> "MessageTokensOut":
        tokens = result.tokens
        return cls(
            model=result.model,
            model_revision=result.model_revision,
            n_positions=result.n_positions,
            eos_token_id=result.eos_token_id,
            prompt=tokens.prompt.text,
            prompt_token_ids=list(tokens.prompt.token_ids),
            dropped_message_ids=list(tokens.prompt.dropped_message_ids),
            reply_token_ids=list(tokens.reply),
            is_exact=tokens.is_exact,
        )


class VocabularyOut(BaseModel):
    model: str
    model_revision: str
    tokens: list[str] = Field(description='By token id. A part of a character shows as U+FFFD, a special token as "".')


class PerplexityIn(RequestBody):
    text: Annotated[Text, Field(min_length=1, max_length=MAX_CONTENT_LENGTH)] = Field(
        description="At least two tokens: nothing predicts the first."
    )
    model: ModelName | None = Field(None, description="Left out: the service's default.")
    token_logprobs: Annotated[bool, Strict()] = Field(default=False, description="List every token with its score.")


class ScoredToken(BaseModel):
    token_id: int
    text: str = Field(description="A part of a character shows as U+FFFD.")
    logprob: float | None = Field(description="Null for the first token.")


class PerplexityOut(BaseModel):
    model: str
    model_revision: str
    num_tokens: int = Field(description="Scored ones: all but the first.")
    nll: float = Field(description="Their negative log-likelihood in nats, summed.")
    perplexity: float = Field(description="e to the power of `nll` / `num_tokens`.")
    bits_per_byte: float = Field(description="`nll` in bits, a byte of the scored tokens in UTF-8.")
    window: int = Field(description="Tokens read at once at most.")
    stride: int = Field(description="How far windows of a longer text are apart, in tokens.")
    token_logprobs: list[ScoredToken] | None = Field(description="Where asked for.")

    @classmethod
    def of(cls, result: PerplexityResult, *, with_tokens: bool) -> "PerplexityOut":
        tokens = [
            ScoredToken(token_id=token_id, text=text, logprob=logprob)
            for token_id, text, logprob in zip(result.token_ids, result.texts, (None, *result.logprobs), strict=True)
        ]
        return cls(
            model=result.model,
            model_revision=result.model_revision,
            num_tokens=len(result.logprobs),
            nll=result.nats,
            perplexity=result.perplexity,
            bits_per_byte=result.bits_per_byte,
            window=result.window,
            stride=result.stride,
            token_logprobs=tokens if with_tokens else None,
        )
