"""/v1/models: what there is, and what each parameter does."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from gpt2svc.api.openai.error_docs import openai_error_responses
from gpt2svc.api.openai.errors import OpenAiRoute
from gpt2svc.api.openai.truth_table import truth_table
from gpt2svc.api.schemas.openai_chat import ChatCompletionCreate
from gpt2svc.api.schemas.openai_completions import DEFAULT_MAX_TOKENS, NEUTRAL_SETTINGS, CompletionCreate
from gpt2svc.api.schemas.openai_embeddings import EmbeddingCreate
from gpt2svc.api.schemas.openai_models import OpenAiModel, OpenAiModelDetails, OpenAiModelList, ParameterOut
from gpt2svc.api.schemas.openai_response_request import ResponseCreate
from gpt2svc.api.schemas.openai_sampling import LENGTH_NAMES
from gpt2svc.api.services import Services, ServicesDep
from gpt2svc.errors import NotFoundError
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.models.catalogue import CatalogueEntry
from gpt2svc.models.config import CONFIG_NAME
from gpt2svc.models.quantization import Quantization, quantized_revision
from gpt2svc.worker.protocol import EngineState

router = APIRouter(prefix="/v1/models", tags=["openai"], route_class=OpenAiRoute)


@router.get("", summary="List models, as OpenAI does", responses=openai_error_responses())
async def list_openai_models(services: ServicesDep) -> OpenAiModelList:
    """Loaded ones, the default first, then others on this machine."""
    return OpenAiModelList(data=await _models(services))


@router.get(
    "/{model_id:path}", summary="Read a model, and what each parameter does", responses=openai_error_responses(404)
)
async def read_openai_model(services: ServicesDep, model_id: str) -> OpenAiModelDetails:
    """With the table of parameters: which are honoured, within which limits, by which default; which pass because they
    ask for nothing; and which are refused. There are no others: an unknown parameter is refused too.
    """
    model = next((model for model in await _models(services) if model.id == model_id), None)
    if model is None:
        raise NotFoundError("model", model_id)
    limits = await _limits(services, model)
    return OpenAiModelDetails(**model.model_dump(), parameters=_tables(limits))


def _tables(limits: Mapping[str, int]) -> dict[str, dict[str, ParameterOut]]:
    """By endpoint; whichever name a request gives the length by, the default is the same."""
    reply_length = dict.fromkeys(LENGTH_NAMES, SamplingSettings().max_new_tokens)
    text_length = dict.fromkeys(LENGTH_NAMES, DEFAULT_MAX_TOKENS)
    reply: dict[str, Any] = {"n": 1, "truncation": "disabled", "stream": False, **reply_length}
    text: dict[str, Any] = {"n": 1, "best_of": 1, "stream": False, "echo": False, **text_length}
    return {
        "chat.completions": truth_table(ChatCompletionCreate, SamplingSettings(), limits, **reply),
        "completions": truth_table(CompletionCreate, NEUTRAL_SETTINGS, limits, **text),
        "responses": truth_table(ResponseCreate, SamplingSettings(), limits, **reply, store=True, background=False),
        "embeddings": truth_table(EmbeddingCreate, None, limits, encoding_format="float"),
    }


async def _limits(services: Services, model: OpenAiModel) -> dict[str, int]:
    """Of what depends on the model's size, as far as that is known."""
    states = {state.model: state.info for state in services.engines.states()}
    info = states.get(model.id)
    num_slots = info.num_slots if info is not None else services.settings.max_num_seqs
    limits = {"num_beams": num_slots, "num_beam_groups": num_slots}  # each beam takes one
    if model.context_window is not None:
        limits |= dict.fromkeys((*LENGTH_NAMES, "min_new_tokens"), model.context_window - 1)
    if info is not None:
        return {**limits, "dimensions": info.n_embd}
    entries = await asyncio.to_thread(services.catalogue.list)
    folder = next((entry.folder for entry in entries if entry.name == model.id), None)
    return {**limits, "dimensions": folder.config.n_embd} if folder is not None else limits


async def _models(services: Services) -> list[OpenAiModel]:
    entries = {entry.name: entry for entry in await asyncio.to_thread(services.catalogue.list)}
    states = services.engines.states()
    loaded = [await asyncio.to_thread(_of_state, state, entries.get(state.model)) for state in states]
    names = {state.model for state in states}
    others = [entry for entry in entries.values() if entry.name not in names and entry.folder is not None]
    quantize = services.settings.quantize
    return [*loaded, *[await asyncio.to_thread(_of_entry, entry, quantize) for entry in others]]


def _of_state(state: EngineState, entry: CatalogueEntry | None) -> OpenAiModel:
    info = state.info
    folder = entry.folder if entry is not None else None
    return OpenAiModel(
        id=state.model,
        created=_created(entry.path if entry is not None else Path(state.model)),
        status=state.status,
        context_window=info.n_positions if info is not None else folder.config.n_positions if folder else None,
        system_fingerprint=f"fp_{info.revision}" if info is not None else None,
    )


def _of_entry(entry: CatalogueEntry, quantize: Quantization) -> OpenAiModel:
    return OpenAiModel(
        id=entry.name,
        created=_created(entry.path),
        status="available",
        context_window=entry.folder.config.n_positions if entry.folder else None,
        system_fingerprint=f"fp_{quantized_revision(entry.revision, quantize)}",
    )


def _created(folder: Path) -> int:
    """Seconds since 1970; 0 where its folder is not known by this name."""
    try:
        return int((folder / CONFIG_NAME).stat().st_mtime)
    except (OSError, ValueError):
        return 0
