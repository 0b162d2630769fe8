"""Short-hands for tests that pull from tests/fakes/hub_server.py."""

from pathlib import Path
from typing import Final

from gpt2svc.models.hub import HubClient
from gpt2svc.models.hub_file import RetryPolicy
from tests.fakes.hub_server import HubServer

OTHER_COMMIT: Final = "f" * 40
WEIGHTS: Final = "model.safetensors"
AT_ONCE: Final = RetryPolicy(max_attempts=3, first_delay_s=0.0)


def hub_client(hub: HubServer, models_dir: Path, **options: object) -> HubClient:
    return HubClient(models_dir, endpoint=hub.url, **{"policy": AT_ONCE, **options})  # type: ignore[arg-type]


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
