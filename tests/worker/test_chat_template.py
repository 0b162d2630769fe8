"""The chat template of a model that a worker serves: its own, another one, or one that can't be used."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gpt2svc.errors import UnavailableError
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.worker.client import WorkerClient
from gpt2svc.worker.options import WorkerOptions
from tests.worker.conftest import QUICK, echo_command, until

OWN = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ '\\n' }}{% endfor %}"
OTHER = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ '\\n' }}{% endfor %}"


@pytest.fixture
def options(model_folder: Path, tmp_path: Path) -> WorkerOptions:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    return WorkerOptions(str(folder), models_dir=str(tmp_path), allow_folder=True)


async def template_of(options: WorkerOptions) -> str | None:
    """What the client has once the model is ready; raises what it says where the model failed."""
    client = WorkerClient(options, ModelCatalogue(Path(options.models_dir)), policy=QUICK, command=echo_command())
    client.start()
    try:
        await until(lambda: client.state.status == "failed" or client._tokenizer is not None)
        template = client.tokenizer.chat_template
        return template.source if template is not None else None
    finally:
        await client.aclose()


async def test_a_folders_own_template_counts_unless_another_is_given(options: WorkerOptions, tmp_path: Path) -> None:
    assert await template_of(options) is None
    (Path(options.model) / "chat_template.jinja").write_text(OWN)
    assert await template_of(options) == OWN
    given = tmp_path / "given.jinja"
    given.write_text(OTHER)
    assert await template_of(replace(options, chat_template=str(given))) == OTHER


async def test_a_template_that_cannot_be_used_fails_the_model_by_name(options: WorkerOptions, tmp_path: Path) -> None:
    file = Path(options.model) / "chat_template.jinja"
    file.write_text(OWN + "{% if %}")
    with pytest.raises(UnavailableError, match=r"chat_template\.jinja can't be used \(line 1\)"):
        await template_of(options)
    with pytest.raises(UnavailableError, match=r"nowhere\.jinja can't be read"):
        await template_of(replace(options, chat_template=str(tmp_path / "nowhere.jinja")))
