"""What routes work with: made by the composition root, kept on the app, handed to each route as a dependency."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request

from gpt2svc.api.identity import identity_of
from gpt2svc.chat.choosing import ChoiceService
from gpt2svc.chat.classification import ClassificationService
from gpt2svc.chat.conversations import ConversationService
from gpt2svc.chat.edits import EditService
from gpt2svc.chat.scoring import ScoringService
from gpt2svc.chat.transfer.export import ConversationExport
from gpt2svc.chat.transfer.importer import ConversationImport
from gpt2svc.chat.turns import TurnService
from gpt2svc.completions.embeddings import EmbeddingService
from gpt2svc.completions.infilling import InfillingService
from gpt2svc.completions.service import CompletionService
from gpt2svc.config import Settings
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.metrics import Metrics
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.persistence.database import Database
from gpt2svc.responses.service import ResponseService
from gpt2svc.worker.protocol import EnginePool


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    database: Database
    catalogue: ModelCatalogue
    engines: EnginePool
    admission: Admission
    generations: GenerationSupervisor
    conversations: ConversationService
    turns: TurnService
    edits: EditService
    exports: ConversationExport
    imports: ConversationImport
    scoring: ScoringService
    classification: ClassificationService
    choices: ChoiceService
    completions: CompletionService
    infilling: InfillingService
    responses: ResponseService
    embeddings: EmbeddingService
    versions: Mapping[str, str | None]
    metrics: Metrics
    started_at: float = field(default_factory=time.monotonic)


async def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


async def owner_of(request: Request) -> str:
    """Whose conversations the request may see: the id of its stored key, "" with the configured key or none."""
    return identity_of(request.scope).key_id


ServicesDep = Annotated[Services, Depends(services_of)]
OwnerDep = Annotated[str, Depends(owner_of)]
