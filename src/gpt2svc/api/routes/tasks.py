"""/api/classify and /api/choose: models with a head for a task."""

from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi.openapi.models import Example
from starlette.responses import JSONResponse, Response

from gpt2svc.api.disconnect import unless_disconnected
from gpt2svc.api.error_docs import BODY, error_responses
from gpt2svc.api.schemas.tasks import ChooseIn, ChooseOut, ClassifyIn, ClassifyOut
from gpt2svc.api.services import OwnerDep, ServicesDep

router = APIRouter(prefix="/api", tags=["tasks"])

_ERRORS = error_responses(*BODY, 404, 429, 503, 504)
_CLASSIFY_EXAMPLES = {
    "text": Example(summary="One text", value={"input": "The film was a delight from start to end."}),
    "texts": Example(
        summary="Several, two labels each", value={"input": ["Чудовий фільм!", "Нудно і довго."], "top_k": 2}
    ),
    "ids": Example(summary="Token ids", value={"input": [[17, 4, 99, 4], [8, 8, 15]]}),
}
_CHOOSE_EXAMPLES = {
    "english": Example(
        summary="What comes next?",
        value={"prompt": "She poured the tea and", "choices": [" drank it.", " drove it home.", " was a lake."]},
    ),
    "ukrainian": Example(
        summary="In Ukrainian", value={"prompt": "Столиця України —", "choices": [" Київ.", " молоко."]}
    ),
}


@router.post("/classify", summary="Which labels fit?", response_model=ClassifyOut, responses=_ERRORS)
async def classify(
    services: ServicesDep,
    owner: OwnerDep,
    request: Request,
    body: Annotated[ClassifyIn, Body(openapi_examples=_CLASSIFY_EXAMPLES)],
) -> Response:
    """The labels of one text or of many, by a model that was trained to classify (`gpt2svc train --task
    classification`, or any `GPT2ForSequenceClassification`). The texts are read in the same steps of the engine.

    Another model is refused with 422, code `wrong_model_task`.
    """

    async def answer() -> Response:
        result = await services.classification.classify(owner, body.texts(), model=body.model)
        return JSONResponse(ClassifyOut.of(result, body.top_k).model_dump(mode="json"))

    return await unless_disconnected(request, answer())


@router.post("/choose", summary="Which choice goes on best?", response_model=ChooseOut, responses=_ERRORS)
async def choose(
    services: ServicesDep,
    owner: OwnerDep,
    request: Request,
    body: Annotated[ChooseIn, Body(openapi_examples=_CHOOSE_EXAMPLES)],
) -> Response:
    """The choices, ranked. A model with two heads (`gpt2svc train --task multiple-choice`, or any
    `GPT2DoubleHeadsModel`) says it by its head for choices, any other language model by how likely it finds their
    tokens; `method` names the way that was taken.
    """

    async def answer() -> Response:
        result = await services.choices.choose(owner, body.prompt, body.choices, method=body.method, model=body.model)
        return JSONResponse(ChooseOut.of(result, body.choices).model_dump(mode="json"))

    return await unless_disconnected(request, answer())
