"""schemathesis over the whole OpenAPI document, for longer than `make test` does: no 5xx, no undocumented status, …

    python -m scripts.schemathesis_check [--url http://127.0.0.1:8000] [--max-examples 100] [further options]

Without --url the app is served here, with the tests' engine. What is checked stands in tests/api/schemathesis_run.py;
further options are those of `schemathesis run`, as --seed=7 or --header='Authorization: Bearer …'.
"""

import argparse
import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from tests.api.schemathesis_run import CLASSIFIER, run_schemathesis, serve_scripted


async def main() -> int:
    parser = argparse.ArgumentParser(description="schemathesis over the whole OpenAPI document.")
    parser.add_argument("--url", help="of a running service; by default one is started here")
    parser.add_argument("--max-examples", type=int, default=100, help="for each operation and phase")
    options, further = parser.parse_known_args()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        result = await run_schemathesis(
            options.url or await serve_scripted(stack, folder),
            folder,
            max_examples=options.max_examples,
            classifier=None if options.url else CLASSIFIER,
            further=further,
            is_shown=True,
        )
    return 0 if result.is_clean else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
