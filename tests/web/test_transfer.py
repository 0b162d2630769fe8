"""Export and import in the page: a file out, everything away, the file in, and all is as it was."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.web.chat_page import ChatPage
from tests.web.conftest import OpenPage
from tests.web.service import WebService


def open_dialog(chat: ChatPage) -> None:
    chat.button("Export and import").click()
    expect(chat.page.get_by_role("dialog", name="Export and import")).to_be_visible()


def wipe(service: WebService) -> None:
    for each in service.api("GET", "/api/conversations?limit=100")["data"]:
        service.api("DELETE", f"/api/conversations/{each['id']}")


def tree(service: WebService) -> list[tuple[Any, ...]]:
    conversations = sorted(service.api("GET", "/api/conversations?limit=100")["data"], key=lambda each: each["title"])
    return [
        (
            each["title"],
            [
                (m["role"], m["content"])
                for m in service.api("GET", f"/api/conversations/{each['id']}/messages")["data"]
            ],
        )
        for each in conversations
    ]


@pytest.mark.parametrize("format_", ["json", "txt"])
def test_export_wipe_import_brings_everything_back(
    service: WebService, open_page: OpenPage, tmp_path: Path, format_: str
) -> None:
    wipe(service)
    service.say("--- an answer\n=== with odd lines")
    chat = open_page().open()
    chat.ask("Запитання <b>1</b>", "--- an answer\n=== with odd lines")
    chat.page.locator(".new-chat").click()
    chat.ask("Another one", "--- an answer\n=== with odd lines")
    before = tree(service)
    open_dialog(chat)
    with chat.page.expect_download() as download:
        chat.page.locator(".transfer-row").nth(["json", "txt"].index(format_)).get_by_role("button", name="All").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.suffix == f".{format_}"
    wipe(service)
    chat.page.set_input_files("#import-file", path)
    expect(chat.page.get_by_text("2 new conversations, 0 here already, 0 unreadable")).to_be_visible()
    chat.button("Read in").click()
    expect(chat.page.get_by_text("2 conversations read in, 0 were here already, 0 unreadable")).to_be_visible()
    assert tree(service) == before
    chat.page.set_input_files("#import-file", [])
    chat.page.set_input_files("#import-file", path)
    expect(chat.page.get_by_text("0 new conversations, 2 here already, 0 unreadable")).to_be_visible()
    expect(chat.button("Read in")).to_be_disabled()


def test_one_bad_conversation_does_not_sink_the_file(service: WebService, open_page: OpenPage, tmp_path: Path) -> None:
    good = {"title": "<i>Good</i>", "messages": [{"id": "1", "role": "user", "content": "Hello"}]}
    bad = {"title": "Bad", "messages": [{"id": "1", "role": "nobody", "content": "Hello"}]}
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps({"format": "gpt2svc-conversations", "version": 1, "conversations": [bad, good]}))
    chat = open_page().open()
    open_dialog(chat)
    chat.page.set_input_files("#import-file", path)
    expect(chat.page.get_by_text("1 new conversation, 0 here already, 1 unreadable")).to_be_visible()
    chat.button("Read in").click()
    expect(chat.page.get_by_text("1 conversation read in, 0 were here already, 1 unreadable")).to_be_visible()
    expect(chat.rows.filter(has_text="<i>Good</i>")).to_have_count(1)


def test_a_damaged_file_is_told(service: WebService, open_page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "damaged.json"
    path.write_text('{"format": "gpt2svc')
    chat = open_page().open()
    open_dialog(chat)
    chat.page.set_input_files("#import-file", path)
    expect(chat.page.get_by_role("dialog").get_by_role("alert")).to_contain_text("The service did not accept this")
