"""What people and models write is shown as written: in messages, titles, names of models, and errors."""

import json

from playwright.sync_api import expect

from tests.web.conftest import OpenPage
from tests.web.service import WebService

CORPUS = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<svg/onload=window.hacked=1>",
    "\"><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "javascript:window.hacked=1",
    "</textarea><b>bold</b>&lt;i&gt;&amp;",
    "{{constructor.constructor('window.hacked=1')()}}",
    "\u202eright to left\u202c \ufeff end",
)


def test_messages_and_titles_stay_text(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    for text in CORPUS:
        service.say(f"You said: {text}")
        chat.page.locator(".new-chat").click()
        chat.say(text)
        expect(chat.replies).to_have_count(1)
        expect(chat.replies.last).to_contain_text("You said")
        chat.wait_until_idle()
        assert chat.reply_text() == f"You said: {text}"
        assert chat.texts.first.evaluate("e => e.textContent") == text
        assert chat.page.locator(".text *").count() == 0
        assert chat.page.locator(".row-title *").count() == 0
    chat.page.reload()
    expect(chat.rows).to_have_count(len(CORPUS))
    assert chat.page.evaluate("window.hacked") is None


def test_tokens_and_prompts_stay_text(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    text = "".join(CORPUS[:6])
    service.say(text)
    # Tokens as long as markup, as another vocabulary could have them.
    words = json.dumps([*CORPUS, *["<b>bold</b>"] * 300])
    chat.page.route("**/vocabulary?*", lambda route: route.fulfill(body=f'{{"tokens": {words}}}'))
    chat.page.get_by_role("spinbutton", name="Reply length, exact value").fill("400")
    chat.say(text)
    chat.wait_until_idle()
    chat.button("Where each token came from").click()
    expect(chat.page.locator(".bars")).to_be_visible()
    chat.page.locator(".prompt summary").click()
    expect(chat.page.locator(".token").first).to_be_visible()
    expect(chat.page.get_by_role("option", name="<b>bold</b>").first).to_be_visible()
    assert chat.page.locator(".token :not(br), .pick *, g2-inspector script, g2-inspector b").count() == 0
    assert chat.page.evaluate("window.hacked") is None


def test_names_of_models_and_errors_stay_text(service: WebService, open_page: OpenPage) -> None:
    chat = open_page()
    evil = CORPUS[1]

    def on_models(route: object) -> None:
        route.fulfill(json={"data": [model | {"id": evil, "error": evil}], "has_more": False, "next_cursor": None})  # type: ignore[attr-defined]

    model = service.api("GET", "/api/models")["data"][0]
    chat.page.route("**/api/models", on_models)
    error = {"error": {"message": evil, "code": "unheard_of", "type": "x", "param": None}}
    chat.page.route("**/messages", lambda route: route.fulfill(status=422, json=error))
    chat.open()
    chat.page.locator(".model-button").click()
    expect(chat.page.locator(".model-row .problem")).to_have_text(evil)
    chat.page.keyboard.press("Escape")
    chat.say("Hello")
    expect(chat.pending).to_contain_text(evil)
    assert chat.page.evaluate("window.hacked") is None
