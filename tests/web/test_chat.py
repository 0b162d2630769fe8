"""The life of a conversation in the browser: first visit, messages, list, drafts, languages."""

import re

import pytest
from playwright.sync_api import expect

from tests.web.conftest import OpenPage
from tests.web.service import WebService


def test_first_visit_offers_a_conversation_that_is_saved_once_used(service: WebService, open_page: OpenPage) -> None:
    before = len(service.api("GET", "/api/conversations")["data"])
    chat = open_page().open()
    expect(chat.page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()
    expect(chat.field).to_be_focused()
    assert len(service.api("GET", "/api/conversations")["data"]) == before
    service.say("Good day to you.")
    chat.ask("Hello", "Good day to you.")
    assert len(service.api("GET", "/api/conversations")["data"]) == before + 1
    expect(chat.rows.first).to_have_text("Hello")
    expect(chat.page.get_by_role("heading", name="Hello", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("lang", "text", "reply"), [("en", "Who are you?", "A model."), ("uk", "Хто ти?", "Модель — це я.")]
)
def test_chat_in_both_languages(service: WebService, open_page: OpenPage, lang: str, text: str, reply: str) -> None:
    service.say(reply)
    chat = open_page(lang=lang).open()
    expect(chat.page.locator("html")).to_have_attribute("lang", lang)
    chat.ask(text, reply)
    stored = service.api("GET", "/api/conversations?limit=1")["data"][0]
    assert stored["title"] == text
    expect(chat.page.locator("[role=status]")).to_have_text(
        {"en": "Reply complete, 2 words", "uk": "Відповідь готова, 4 слова"}[lang]
    )


def test_reload_keeps_everything(service: WebService, open_page: OpenPage) -> None:
    service.say("First answer")
    chat = open_page().open()
    chat.ask("One", "First answer")
    chat.field.fill("not sent yet")
    chat.page.reload()
    expect(chat.texts).to_have_text(["One", "First answer"])
    expect(chat.field).to_have_value("not sent yet")


def test_enter_sends_and_shift_enter_begins_a_line(service: WebService, open_page: OpenPage) -> None:
    service.say("ok")
    chat = open_page().open()
    chat.field.press_sequentially("a")
    chat.field.press("Shift+Enter")
    chat.field.press_sequentially("b")
    chat.field.press("Enter")
    chat.wait_for_reply("ok")
    assert service.api("GET", "/api/conversations?limit=1")["data"][0]["num_messages"] == 2
    assert chat.texts.first.evaluate("e => e.textContent") == "a\nb"


def test_enter_that_ends_a_composition_sends_nothing(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    chat.field.fill("か")
    chat.field.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    chat.field.dispatch_event("keydown", {"key": "Process", "keyCode": 229, "bubbles": True})
    expect(chat.field).to_have_value("か")
    expect(chat.texts).to_have_count(0)


def test_stop_keeps_what_was_written(service: WebService, open_page: OpenPage) -> None:
    service.say("one two three four five six")
    service.do(lambda: service.engine.hold_at(8))
    chat = open_page().open()
    chat.say("count")
    expect(chat.replies.last).not_to_be_empty()
    chat.button("Stop").click()
    expect(chat.page.get_by_text("Stopped.")).to_be_visible()
    chat.wait_until_idle()
    stopped = chat.reply_text()
    assert stopped
    assert "one two three four five six".startswith(stopped)
    chat.page.reload()
    expect(chat.replies.last).to_have_text(stopped)
    expect(chat.field).to_be_focused()


def test_list_searches_renames_deletes_and_undoes(service: WebService, open_page: OpenPage) -> None:
    for title in ("Apples", "Pears", "Plums"):
        service.api("POST", "/api/conversations", json={"title": title})
    chat = open_page().open()
    chat.page.get_by_role("searchbox").fill("pea")
    expect(chat.rows).to_have_text(["Pears"])
    chat.page.get_by_role("searchbox").fill("")
    plums = chat.page.get_by_role("button", name="Plums", exact=True)
    plums.focus()
    plums.press("F2")
    name = chat.page.get_by_role("textbox", name="Rename")
    name.fill("Cherries")
    name.press("Enter")
    cherries = chat.page.get_by_role("button", name="Cherries", exact=True)
    expect(cherries).to_be_focused()
    cherries.press("Delete")
    expect(cherries).to_have_count(0)
    chat.button("Undo").click()
    expect(cherries).to_be_visible()
    titles = [each["title"] for each in service.api("GET", "/api/conversations")["data"]]
    assert "Cherries" in titles
    assert "Plums" not in titles


def test_a_deletion_holds_when_the_page_is_closed_at_once(service: WebService, open_page: OpenPage) -> None:
    service.api("POST", "/api/conversations", json={"title": "To be gone"})
    chat = open_page().open()
    row = chat.page.get_by_role("button", name="To be gone", exact=True)
    row.focus()
    with chat.page.expect_response(lambda response: response.request.method == "DELETE"):
        row.press("Delete")
        chat.page.reload()
    assert "To be gone" not in [each["title"] for each in service.api("GET", "/api/conversations")["data"]]


def test_each_conversation_keeps_its_own_draft(service: WebService, open_page: OpenPage) -> None:
    service.api("POST", "/api/conversations", json={"title": "With a draft"})
    service.api("POST", "/api/conversations", json={"title": "Without one"})
    chat = open_page().open()
    chat.field.fill("for the new one")
    chat.page.get_by_role("button", name="With a draft", exact=True).click()
    expect(chat.field).to_have_value("")
    chat.field.fill("for this one")
    chat.page.get_by_role("button", name="Without one", exact=True).click()
    expect(chat.field).to_have_value("")
    chat.page.go_back()
    expect(chat.field).to_have_value("for this one")
    chat.page.locator(".new-chat").click()
    expect(chat.field).to_have_value("for the new one")


def test_language_changes_in_place_and_is_remembered(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    chat.field.fill("kept")
    chat.button("UK").click()
    expect(chat.page.locator("html")).to_have_attribute("lang", "uk")
    expect(chat.field).to_have_attribute("placeholder", "Напишіть повідомлення…")
    expect(chat.page.get_by_role("heading", name="Про що поговоримо?")).to_be_visible()
    expect(chat.field).to_have_value("kept")
    chat.page.reload()
    expect(chat.page.locator("html")).to_have_attribute("lang", "uk")
    chat.page.goto(f"{service.url}/?lang=en")
    expect(chat.page.locator("html")).to_have_attribute("lang", "en")


def test_theme_changes_and_is_there_before_the_first_paint(service: WebService, open_page: OpenPage) -> None:
    chat = open_page(theme="light").open()
    chat.page.locator(".in-bar .theme").click()
    chat.page.locator(".in-bar .theme").click()
    expect(chat.page.locator("html")).to_have_attribute("data-theme", "dark")
    ground = chat.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert sum(int(n) for n in re.findall(r"\d+", ground)[:3]) < 120
    chat.page.goto(f"{service.url}/", wait_until="commit")
    expect(chat.page.locator("html")).to_have_attribute("data-theme", "dark")


def test_shortcuts_go_by_the_place_of_the_key(service: WebService, open_page: OpenPage) -> None:
    service.api("POST", "/api/conversations", json={"title": "Some talk"})
    chat = open_page(lang="uk").open()
    chat.page.get_by_role("button", name="Some talk", exact=True).click()
    expect(chat.page.get_by_role("heading", name="Some talk")).to_be_visible()
    press = "document.body.dispatchEvent(new KeyboardEvent('keydown', {0}))"
    chat.page.evaluate(press.format("{key: 'щ', code: 'KeyO', ctrlKey: true, shiftKey: true, bubbles: true}"))
    expect(chat.page.get_by_role("heading", name="Про що поговоримо?")).to_be_visible()
    chat.page.evaluate(press.format("{key: 'л', code: 'KeyK', ctrlKey: true, bubbles: true}"))
    expect(chat.page.get_by_role("searchbox")).to_be_focused()
    chat.page.locator(".in-bar .theme").focus()
    chat.page.keyboard.type("?")
    expect(chat.page.get_by_role("dialog", name="Клавіатура")).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(chat.page.get_by_role("dialog")).to_have_count(0)
    expect(chat.page.locator(".in-bar .theme")).to_be_focused()
