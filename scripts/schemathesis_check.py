"""schemathesis over the whole OpenAPI document: no 5xx, no undocumented status, bodies and headers as documented.

    pip install schemathesis
    python scripts/schemathesis_check.py [--url http://127.0.0.1:8000] [--max-examples 30] [-- further options]

All phases (examples, coverage, fuzzing, stateful), valid and invalid requests, NUL characters too. Without --url the
app is served here, with the tests' engine, which replies at once: what is under test is the interface, not the model.
"""

import argparse
import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.running_app import running
from tests.fakes.tokenizer import write_tokenizer_folder

from gpt2svc.app import create_app
from gpt2svc.config import Settings
from gpt2svc.models.tokenizer import Tokenizer

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "missing_required_header",
)
# A time that is over before it began is rightly answered with 504: the header gets one that is enough.
CONFIGURATION = """\
[parameters]
"header.X-Request-Timeout" = "60"
"""
PHASES = ("examples", "coverage", "fuzzing", "stateful")


async def main() -> int:
    parser = argparse.ArgumentParser(description="schemathesis over the whole OpenAPI document.")
    parser.add_argument("--url", help="of a running service; by default one is started here")
    parser.add_argument("--max-examples", type=int, default=30, help="for each operation and phase")
    options, further = parser.parse_known_args()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        configuration = folder / "schemathesis.toml"
        configuration.write_text(CONFIGURATION, encoding="utf-8")
        url = options.url or await _serve(stack, folder)
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={configuration}",
            "run",
            f"{url}/openapi.json",
            f"--phases={','.join(PHASES)}",
            "--mode=all",
            f"--checks={','.join(CHECKS)}",
            f"--max-examples={options.max_examples}",
            "--generation-allow-x00=true",
            "--request-timeout=20",
            "--continue-on-failure",
            *(option for option in further if option != "--"),
        )
        return await process.wait()


async def _serve(stack: AsyncExitStack, folder: Path) -> str:
    engine = ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(folder / "tokenizer")))
    engine.say("Hello there")
    app = create_app(Settings(data_dir=folder / "data", model="tiny"), engines=ScriptedPool(engine))
    return await stack.enter_async_context(running(app))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
