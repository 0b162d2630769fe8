"""A look at the model before the service starts: what can't work should fail at once, not behind a running API."""

from pathlib import Path

from gpt2svc.models.catalogue import STARTER, ModelCatalogue, is_folder_path
from gpt2svc.models.config import CONFIG_NAME
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.hub_name import HubName


def require_usable_model(name: str, chat_template: Path | None = None) -> None:
    """Raises ModelError for a folder that can't be served and for a template that can't be used with it,
    InvalidInputError for what can't be a model's name.

    Headers and tokenizer only: a fraction of a second. A hub name is not looked up; the worker fetches it.
    """
    if name == STARTER:
        if chat_template is not None:
            starter = ModelCatalogue(Path()).resolve(STARTER)
            if starter is not None:
                starter.load_chat_tokenizer(chat_template)
        return  # part of the package
    if is_folder_path(name) or (Path(name) / CONFIG_NAME).is_file():
        # A revision of any kind saves the hash over the weights, which the worker computes later.
        folder = ModelFolder.open(Path(name).expanduser().absolute(), name=name, revision="unread")
        folder.load_chat_tokenizer(chat_template)
    else:
        HubName.parse(name)
