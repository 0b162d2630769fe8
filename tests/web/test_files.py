"""The files of the page: their rules, sizes and words, without a browser."""

import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gpt2svc.api.web_files import WebFiles, modules
from gpt2svc.app import create_app
from gpt2svc.config import Settings

WEB = Path(__file__).resolve().parents[2] / "src" / "gpt2svc" / "web"
SCRIPTS = sorted(WEB.rglob("*.js"))
MAX_BYTES = 150_000
MAX_LINES = 300
MAX_KERNEL_LINES = 250
FORMS = re.compile(r"\{\w+(\|[^}]*)\}")


def code_of(path: Path) -> str:
    """Without comments."""
    return re.sub(r"/\*.*?\*/|(?m:^\s*//[^\n]*$)", "", path.read_text("utf-8"), flags=re.DOTALL)


def texts(language: str) -> dict[str, str]:
    source = code_of(WEB / "js" / "i18n" / f"{language}.js")
    body = source[source.index("= {") + 2 : source.rindex("}") + 1]
    # What is no string and stands before a colon is a key without quotes.
    quoted = re.sub(r'"(?:[^"\\]|\\.)*"|(\w+)(?=\s*:)', lambda m: f'"{m[1]}"' if m[1] else m[0], body)
    parsed: dict[str, str] = json.loads(re.sub(r",(\s*})", r"\1", quoted))
    return parsed


def test_scripts_and_styles_stay_small() -> None:
    files = [*SCRIPTS, *WEB.rglob("*.css")]
    served = [file for file in WebFiles(WEB).files.values() if file.media_type != "image/svg+xml"]
    assert len(served) == len(files)
    assert sum(len(file.content) for file in served) <= MAX_BYTES
    assert {path.name: n for path in files if (n := len(path.read_text("utf-8").splitlines())) > MAX_LINES} == {}


def test_no_string_looks_like_a_comment_or_spans_lines() -> None:
    for path in SCRIPTS:
        for line in code_of(path).splitlines():
            bare = re.sub(r"/(?![/*])(?:[^/\\\n]|\\.)+/[gimu]*(?=[.,);])", "", line)  # regular expressions
            assert bare.count("`") % 2 == 0, (path.name, line)
            for text in re.findall(r'"(?:[^"\\]|\\.)*"|`[^`]*`', bare):
                assert "/*" not in text, (path.name, line)


def test_the_kernel_stays_small() -> None:
    lines = [line for path in (WEB / "js" / "kernel").glob("*.js") for line in code_of(path).splitlines()]
    assert len([line for line in lines if line.strip()]) <= MAX_KERNEL_LINES


def test_no_markup_is_ever_made_from_text() -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|srcdoc|setHTML"
    assert {path.name: found for path in SCRIPTS if (found := re.findall(forbidden, path.read_text("utf-8")))} == {}


def test_nothing_is_loaded_from_elsewhere() -> None:
    for path in [*SCRIPTS, *WEB.rglob("*.css"), WEB / "index.html"]:
        addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text("utf-8"))
        assert [each for each in addresses if "w3.org" not in each] == [], path.name


def test_stores_never_touch_the_page_and_components_never_fetch() -> None:
    for folder in ("store", "engine", "lib", "i18n", "kernel"):
        for path in (WEB / "js" / folder).glob("*.js"):
            imports = re.findall(r'from "([^"]+)"', path.read_text("utf-8"))
            assert not [each for each in imports if "components" in each], path.name
            if folder in ("store", "engine", "i18n"):
                assert not re.findall(r"\b(?:document|window)\.\w|querySelector|/dom\.js", code_of(path)), path.name
    for path in (WEB / "js" / "components").glob("*.js"):
        assert not re.findall(r"\bfetch\(|XMLHttpRequest|EventSource|engine/http|engine/remote", code_of(path)), (
            path.name
        )


def test_both_languages_say_the_same_things() -> None:
    english, ukrainian = texts("en"), texts("uk")
    assert list(english) == list(ukrainian)
    assert len(english) > 150
    for key, text in english.items():
        assert names(text) == names(ukrainian[key]), key
        assert {each.count("|") for each in FORMS.findall(text)} <= {2}, key
        assert {each.count("|") for each in FORMS.findall(ukrainian[key])} <= {4}, key
        assert not re.search("[а-яіїєґ]", text, re.IGNORECASE), key


def names(text: str) -> frozenset[str]:
    """Of the values that are put in, and of the numbers that forms are chosen by."""
    return frozenset(re.findall(r"\{(\w+)[|}]", text))


def test_components_hold_no_words_of_their_own() -> None:
    """Text for people comes by key; what is quoted in a component is a name, a class or a key."""
    for path in (WEB / "js" / "components").glob("*.js"):
        sentences = re.findall(r'"([A-ZА-ЯІЇЄҐ][a-zа-яіїєґ]+(?: [\w]+)+[.…?!]?)"', code_of(path))
        assert sentences == [], path.name


def test_every_key_that_is_asked_for_exists() -> None:
    known = texts("en").keys()
    for path in SCRIPTS:
        for key in re.findall(r'\btext\("([\w.]+)"', path.read_text("utf-8")):
            assert key in known, f"{key} in {path.name}"


def test_all_modules_are_asked_for_at_once() -> None:
    contents = {path.relative_to(WEB).as_posix(): path.read_bytes() for path in SCRIPTS}
    assert {*modules(contents), "js/boot.js"} == contents.keys() - {"js/engine/types.js"}
    page = WebFiles(WEB).page.content.decode()
    assert page.count('rel="modulepreload"') == len(modules(contents))


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings(data_dir=tmp_path, api_key="a-key-of-sixteen-characters"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


async def test_the_page_runs_under_a_strict_policy_and_needs_no_key(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script>|\bon\w+=|style=", page.text)
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) > 40
    for link in links:
        assert not link.startswith(("/", "http"))  # a proxy may put the service below a folder
        response = await client.get(f"/{link}")
        assert response.status_code == 200, link
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["content-type"].split(";")[0] in ("text/javascript", "text/css", "image/svg+xml")
    assert page.headers["cache-control"] == "no-cache"


async def test_no_other_file_is_served(client: httpx.AsyncClient) -> None:
    prefix = WebFiles(WEB).prefix
    for path in (f"/{prefix}/index.html", f"/{prefix}/../app.py", f"/{prefix}/%2e%2e/app.py", "/web/x/js/main.js"):
        assert (await client.get(path)).status_code in (401, 404, 503), path


def test_a_change_of_any_file_changes_every_address(tmp_path: Path) -> None:
    shutil.copytree(WEB, tmp_path / "web")
    before = WebFiles(tmp_path / "web")
    (tmp_path / "web" / "css" / "base.css").write_text("p {}")
    after = WebFiles(tmp_path / "web")
    assert before.prefix != after.prefix
    assert before.paths.isdisjoint(after.paths)
