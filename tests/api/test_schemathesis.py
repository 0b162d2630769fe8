"""The OpenAPI document says what is true: schemathesis asks for all that stands in it, rightly and wrongly."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.api.schemathesis_run import CLASSIFIER, run_schemathesis, serve_scripted


@pytest.mark.slow
@pytest.mark.timeout(900)  # five thousand requests; a busy machine takes its time
async def test_the_whole_document_holds_for_sound_requests_and_others(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        url = await serve_scripted(stack, tmp_path)
        result = await run_schemathesis(url, tmp_path, max_examples=4, classifier=CLASSIFIER, further=("--seed=1",))
    assert result.is_clean, result.output
