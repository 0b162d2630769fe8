"""WCAG 2.1 AA as far as a machine can tell (axe), on each state of the page, in both languages and themes."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.web.chat_page import ChatPage
from tests.web.conftest import OpenPage
from tests.web.service import WebService

OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}


def check(chat: ChatPage, state: str) -> None:
    chat.page.wait_for_timeout(250)  # a drawer's way in: colours in between are nobody's
    violations = Axe().run(chat.page, options=OPTIONS).response["violations"]
    found = [(each["id"], each["impact"], [node["html"][:160] for node in each["nodes"]][:3]) for each in violations]
    assert found == [], state


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "uk"])
def test_axe_finds_nothing(service: WebService, open_page: OpenPage, lang: str, theme: str) -> None:
    service.say("A reply of the model")
    chat = open_page(lang=lang, theme=theme).open()
    expect(chat.page.locator(".starter").first).to_be_enabled()
    for width in (1440, 820, 360):
        chat.page.set_viewport_size({"width": width, "height": 800})
        check(chat, f"empty, {width}")
    chat.page.set_viewport_size({"width": 1440, "height": 800})
    chat.ask("A message", "A reply of the model")
    for width in (1440, 820, 360):
        chat.page.set_viewport_size({"width": width, "height": 800})
        check(chat, f"conversation, {width}")
        if width < 1180:
            chat.page.locator("button.chip").click()
            expect(chat.page.locator("#setting-temperature")).to_be_visible()
            check(chat, f"sampling, {width}")
            chat.page.keyboard.press("Escape")
    chat.page.locator("button.only-narrow").click()
    check(chat, "list, 360")
    chat.page.keyboard.press("Escape")
    chat.page.set_viewport_size({"width": 1440, "height": 800})
    chat.page.locator(".actions .icon-button:has(path[d^='M4 6h13'])").click()
    expect(chat.page.locator(".bars")).to_be_visible()
    chat.page.locator(".prompt summary").click()
    for width in (1440, 820, 360):
        chat.page.set_viewport_size({"width": width, "height": 800})
        check(chat, f"inspector, {width}")
    chat.page.keyboard.press("Escape")
    chat.page.set_viewport_size({"width": 1440, "height": 800})
    chat.page.locator(".list-tools .link").first.click()
    chat.page.locator("g2-inspector textarea").fill("Hello")
    expect(chat.page.locator(".bars")).to_be_visible()
    check(chat, "any text")
    chat.page.keyboard.press("Escape")
    dialogs = {"details": "g2-message.assistant .actions button >> nth=-1", "keys": ".only-wide[aria-label]"}
    for name, opener in {**dialogs, "transfer": ".list-tools .link:last-child"}.items():
        chat.page.locator(opener).first.click()
        expect(chat.page.locator(f"dialog.dialog-{name}")).to_be_visible()
        check(chat, name)
        chat.page.keyboard.press("Escape")


@pytest.mark.parametrize("lang", ["en", "uk"])
def test_nothing_is_cut_off_at_320_pixels(service: WebService, open_page: OpenPage, lang: str) -> None:
    service.say("word " * 30 + "x" * 200)
    chat = open_page(lang=lang, width=320, height=600).open()
    width = "document.documentElement.scrollWidth"
    assert chat.page.evaluate(width) <= 320
    chat.say("y" * 100)
    expect(chat.replies.last).to_contain_text("word")
    chat.wait_until_idle()
    overflowing = """() => [...document.querySelectorAll('main *')]
        .filter((e) => e.checkVisibility() && !e.closest('.visually-hidden') && e.getBoundingClientRect().right > 321)
        .map((e) => e.className)"""
    assert chat.page.evaluate(overflowing) == []
    chat.page.locator(".actions .icon-button:has(path[d^='M4 6h13'])").click()
    expect(chat.page.locator(".bars")).to_be_visible()
    assert chat.page.evaluate(width) <= 320
    assert chat.page.evaluate(overflowing) == []
    chat.page.keyboard.press("Escape")
    chat.page.locator("button.chip").click()
    assert chat.page.evaluate(width) <= 320
    assert chat.page.evaluate("document.querySelector('aside.sampling').scrollWidth") <= 320


def test_tokens_are_not_announced_one_by_one(service: WebService, open_page: OpenPage) -> None:
    service.say("one two three")
    chat = open_page().open()
    said = chat.page.evaluate_handle(
        """() => { const all = []; const status = document.querySelector('[role=status]');
        const changes = {childList: true, characterData: true, subtree: true};
        new MutationObserver(() => all.push(status.textContent)).observe(status, changes);
        return all; }"""
    )
    chat.ask("count", "one two three")
    expect(chat.page.locator("[role=status]")).to_have_text("Reply complete, 3 words")
    assert [each for each in said.json_value() if each] == ["Writing a reply", "Reply complete, 3 words"]
    assert chat.page.get_by_role("log").get_attribute("aria-live") == "off"
    assert chat.page.locator("[role=status]").count() == 1


def test_a_toolbar_is_one_stop_of_the_tab_key(service: WebService, open_page: OpenPage) -> None:
    service.say("ok")
    chat = open_page().open()
    chat.ask("Hello", "ok")
    bar = chat.page.locator("g2-message.assistant").get_by_role("toolbar")
    bar.get_by_role("button").first.focus()
    chat.page.keyboard.press("ArrowRight")
    expect(bar.get_by_role("button").nth(1)).to_be_focused()
    chat.page.keyboard.press("ArrowLeft")
    expect(bar.get_by_role("button").first).to_be_focused()
    chat.page.keyboard.press("Tab")
    expect(bar.locator(":focus")).to_have_count(0)
    ring = chat.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid" or chat.page.evaluate("document.activeElement.id") == "say"
