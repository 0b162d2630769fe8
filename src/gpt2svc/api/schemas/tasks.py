"""Classification and choices on the wire."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, Strict, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from gpt2svc.api.schemas.values import AS_INT, ModelName, RequestBody, Text
from gpt2svc.chat.choosing import MAX_CHOICES, MIN_CHOICES, ChoiceMethod, ChoiceResult
from gpt2svc.chat.classification import MAX_TEXTS, ClassificationResult, ClassifiedText, TextOrIds
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH

_MAX_IDS = 100_000
_MAX_TOP = 1000

Content = Annotated[Text, Field(min_length=1, max_length=MAX_CONTENT_LENGTH)]
TokenId = Annotated[int, Strict(), Field(ge=0, le=2**31 - 1), AS_INT]


def _in_one_word(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Of a union pydantic tells what each of its kinds finds wrong, under names of its own."""
    try:
        return validate(value)
    except ValidationError:
        raise ValueError(
            f"must be a text of 1 to {MAX_CONTENT_LENGTH} characters or a list of 1 to {MAX_TEXTS} of them, or token "
            f"ids: one list or 1 to {MAX_TEXTS}, none of them empty"
        ) from None


TokenIds = Annotated[list[TokenId], Field(min_length=1, max_length=_MAX_IDS)]


class ClassifyIn(RequestBody):
    input: Annotated[
        Content
        | Annotated[list[Content], Field(min_length=1, max_length=MAX_TEXTS)]
        | TokenIds
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_TEXTS)],
        WrapValidator(_in_one_word),
    ] = Field(description=f"A text, or up to {MAX_TEXTS} of them; or token ids, one list or several.")
    model: ModelName | None = Field(None, description="Left out: the service's default.")
    top_k: Annotated[int, Strict(), Field(ge=1, le=_MAX_TOP), AS_INT] | None = Field(
        None, description="List only so many labels, the likeliest. Left out: all."
    )

    def texts(self) -> list[TextOrIds]:
        given: Any = self.input
        return [given] if isinstance(given, str) or isinstance(given[0], int) else list(given)


class LabelOut(BaseModel):
    id: int = Field(description="Of the label among the model's, from 0 on.")
    label: str
    probability: float | None = Field(
        description="Of all labels together 1; with several labels at once each for itself; null of a regression."
    )
    score: float = Field(description="What the head says: a logit, or of a regression the number itself.")


class ClassifiedOut(BaseModel):
    index: int = Field(description="Of the text in `input`.")
    label: str = Field(description="The one with the highest score.")
    labels: list[LabelOut] = Field(description="The highest score first.")
    num_tokens: int

    @classmethod
    def of(cls, index: int, text: ClassifiedText, top_k: int | None) -> "ClassifiedOut":
        labels = [
            LabelOut(id=each.index, label=each.label, probability=each.probability, score=each.score)
            for each in text.labels[:top_k]
        ]
        return cls(index=index, label=labels[0].label, labels=labels, num_tokens=text.num_tokens)


class ClassifyOut(BaseModel):
    model: str
    model_revision: str
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"]
    results: list[ClassifiedOut] = Field(description="One for each text, in their order.")

    @classmethod
    def of(cls, result: ClassificationResult, top_k: int | None) -> "ClassifyOut":
        return cls(
            model=result.model,
            model_revision=result.model_revision,
            problem_type=result.problem_type,
            results=[ClassifiedOut.of(index, text, top_k) for index, text in enumerate(result.texts)],
        )


class ChooseIn(RequestBody):
    prompt: Content = Field(description="The choices go on right after it: mind the space between.")
    choices: Annotated[list[Content], Field(min_length=MIN_CHOICES, max_length=MAX_CHOICES)]
    method: ChoiceMethod | None = Field(
        None,
        description="`head`: by the model's own head for choices. `loglikelihood`: by the mean log-probability of a "
        "choice's tokens. Left out: the head where the model has one.",
    )
    model: ModelName | None = Field(None, description="Left out: the service's default.")


class ChoiceOut(BaseModel):
    index: int = Field(description="Of the text in `choices`.")
    text: str
    probability: float = Field(description="Softmax over the scores of all choices.")
    score: float = Field(description="The head's, or the mean log-probability of a token.")
    num_tokens: int


class ChooseOut(BaseModel):
    model: str
    model_revision: str
    method: ChoiceMethod = Field(description="The one that was used.")
    prompt_tokens: int
    choices: list[ChoiceOut] = Field(description="The best first.")

    @classmethod
    def of(cls, result: ChoiceResult, texts: list[str]) -> "ChooseOut":
        return cls(
            model=result.model,
            model_revision=result.model_revision,
            method=result.method,
            prompt_tokens=result.num_prompt_tokens,
            choices=[
                ChoiceOut(
                    index=choice.index,
                    text=texts[choice.index],
                    probability=choice.probability,
                    score=choice.score,
                    num_tokens=choice.num_tokens,
                )
                for choice in result.choices
            ],
        )
