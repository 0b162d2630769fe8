"""schemathesis over the whole OpenAPI document of a running service: each phase, requests that are sound and not."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from gpt2svc.app import create_app
from gpt2svc.config import Settings
from gpt2svc.models.task_head import ClassificationHead
from gpt2svc.models.tokenizer import Tokenizer
from tests.api import schemathesis_hooks
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.running_app import running
from tests.fakes.tokenizer import write_tokenizer_folder

# All but `positive_data_acceptance`: that a cursor is one which a list gave out, or that of two settings only one may
# be given, is nothing that a schema can say.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "errors_have_the_envelope",
    "streams_end_in_a_stated_way",
    "EveryOperationSucceeds",
)
PHASES = ("examples", "coverage", "fuzzing", "stateful")
CLASSIFIER = "labels"

_CONFIGURATION = f"""\
hooks = "{Path(schemathesis_hooks.__file__).as_posix()}"
max-stream-events = 100000

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 422, 429]
"""


@dataclass(frozen=True, slots=True)
class Conformance:
    is_clean: bool
    output: str


async def run_schemathesis(
    url: str,
    folder: Path,
    *,
    max_examples: int,
    classifier: str | None = None,
    further: Sequence[str] = (),
    is_shown: bool = False,
) -> Conformance:
    """In a process of its own, in `folder`, which gets its files. `further` are options of `schemathesis run`. With
    `is_shown` its output goes to the terminal. `classifier` names a model that can classify, where there is one.
    """
    env = {**os.environ, **({schemathesis_hooks.CLASSIFIER_VARIABLE: classifier} if classifier is not None else {})}
    configuration = folder / "schemathesis.toml"
    configuration.write_text(_CONFIGURATION, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={configuration}",
        "run",
        f"{url}/openapi.json",
        f"--phases={','.join(PHASES)}",
        "--mode=all",
        f"--checks={','.join(CHECKS)}",
        f"--max-examples={max_examples}",
        "--generation-allow-x00=true",
        "--generation-database=none",
        "--request-timeout=60",
        "--continue-on-failure",
        "--no-color",
        *further,
        cwd=folder,
        env=env,
        stdout=None if is_shown else asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return Conformance(process.returncode == 0, (output or b"").decode())


async def serve_scripted(stack: AsyncExitStack, folder: Path) -> str:
    """The app with the tests' engine, which replies at once: what is under test is the interface, not the model."""
    tokenizer = Tokenizer.from_folder(write_tokenizer_folder(folder / "tokenizer"))
    engine, classifier = ScriptedEngine(tokenizer), ScriptedEngine(tokenizer, model=CLASSIFIER)
    engine.say("Hello there")
    classifier.task_head = ClassificationHead(("a", "b", "c", "d"), "single_label_classification")
    app = create_app(Settings(data_dir=folder / "data", model="tiny"), engines=ScriptedPool(engine, classifier))
    return await stack.enter_async_context(running(app))
