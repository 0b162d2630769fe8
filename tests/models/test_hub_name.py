import pytest

from gpt2svc.errors import InvalidInputError
from gpt2svc.models.hub_name import HubName

BAD_NAMES = (
    "",
    "gpt3",
    "owner/",
    "/name",
    "..",
    "../name",
    "owner/..",
    "owner/../name",
    "owner/na..me",
    "owner/name/more",
    "owner\\name",
    "owner/na me",
    "owner/name\n",
    "owner/na\x00me",
    "owner--evil/name",
    "owner/na--me",
    ".hidden/name",
    "owner/-flag",
    "https://hub.example/owner/name",
    "власник/модель",
    "o" * 97 + "/name",
    "owner/name@",
    "owner/name@../../etc",
    "owner/name@a..b",
    "owner/name@/absolute",
    "owner/name@a//b",
    "owner/name@main\n",
    "owner/name@" + "r" * 101,
    "owner/name@main@main",
)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_hub_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        HubName.parse(name)
    assert caught.value.field == "model"


@pytest.mark.parametrize(
    ("name", "repo_id", "revision"),
    [
        ("openai-community/gpt2", "openai-community/gpt2", "main"),
        ("gpt2", "openai-community/gpt2", "main"),
        ("gpt2-xl@v1.0", "openai-community/gpt2-xl", "v1.0"),
        ("distilgpt2", "distilbert/distilgpt2", "main"),
        ("openai-gpt", "openai-community/openai-gpt", "main"),
        ("some.one/My_Model-2@refs/pr/3", "some.one/My_Model-2", "refs/pr/3"),
    ],
)
def test_names_aliases_and_revisions(name: str, repo_id: str, revision: str) -> None:
    parsed = HubName.parse(name)
    assert (parsed.repo_id, parsed.revision) == (repo_id, revision)
    assert HubName.from_folder_name(parsed.folder_name) == HubName(parsed.owner, parsed.repository)
    assert HubName.parse(str(parsed)) == parsed


@pytest.mark.parametrize("folder_name", ["plain", "a--b--c", "--b", "a--", "..--..", "lost+found"])
def test_other_folders_are_no_repositories(folder_name: str) -> None:
    assert HubName.from_folder_name(folder_name) is None
