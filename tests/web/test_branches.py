"""Write again, continue, edit: each gives a version beside the old one, and a switcher between them."""

from playwright.sync_api import expect

from tests.web.conftest import OpenPage
from tests.web.service import WebService


def test_write_again_keeps_both_versions(service: WebService, open_page: OpenPage) -> None:
    service.say("The first version")
    chat = open_page().open()
    chat.ask("Tell me", "The first version")
    service.say("The second version")
    chat.button("Write again").click()
    chat.wait_for_reply("The second version")
    switcher = chat.page.get_by_role("group", name="Versions")
    expect(switcher).to_contain_text("2/2")
    chat.button("Previous version").click()
    expect(chat.replies.last).to_have_text("The first version")
    expect(switcher).to_contain_text("1/2")
    chat.page.reload()
    expect(chat.replies.last).to_have_text("The first version")
    chat.button("Next version").click()
    expect(chat.replies.last).to_have_text("The second version")


def test_a_message_continues_the_branch_that_is_shown(service: WebService, open_page: OpenPage) -> None:
    service.say("alpha")
    chat = open_page().open()
    chat.ask("Tell me", "alpha")
    service.say("beta")
    chat.button("Write again").click()
    chat.wait_for_reply("beta")
    chat.button("Previous version").click()
    expect(chat.replies.last).to_have_text("alpha")
    service.say("gamma")
    chat.ask("And then?", "gamma")
    expect(chat.texts).to_have_text(["Tell me", "alpha", "And then?", "gamma"])
    assert "alpha" in service.engine.decode(service.engine.requests[-1].prompt_token_ids)
    assert "beta" not in service.engine.decode(service.engine.requests[-1].prompt_token_ids)


def test_a_question_put_otherwise_is_asked_beside_the_old_one(service: WebService, open_page: OpenPage) -> None:
    service.say("about cats")
    chat = open_page().open()
    chat.ask("Tell me about cats", "about cats")
    service.say("about dogs")
    chat.field.press("ArrowUp")
    editor = chat.page.get_by_role("textbox", name="Edit")
    expect(editor).to_have_value("Tell me about cats")
    editor.fill("Tell me about dogs")
    editor.press("Control+Enter")
    chat.wait_for_reply("about dogs")
    expect(chat.texts).to_have_text(["Tell me about dogs", "about dogs"])
    chat.button("Previous version").click()
    expect(chat.texts).to_have_text(["Tell me about cats", "about cats"])


def test_an_edited_reply_is_what_the_model_reads_next(service: WebService, open_page: OpenPage) -> None:
    service.say("I am a cat")
    chat = open_page().open()
    chat.ask("Who are you?", "I am a cat")
    chat.page.locator("g2-message.assistant").get_by_role("button", name="Edit", exact=True).click()
    editor = chat.page.get_by_role("textbox", name="Edit")
    editor.fill("I am a lighthouse")
    chat.button("Save").click()
    expect(chat.replies.last).to_have_text("I am a lighthouse")
    service.say("Shining")
    chat.ask("And what do you do?", "Shining")
    assert "I am a lighthouse" in service.engine.decode(service.engine.requests[-1].prompt_token_ids)
    chat.page.locator("g2-message.assistant").first.get_by_role("button", name="Previous version").click()
    expect(chat.texts).to_have_text(["Who are you?", "I am a cat"])


def test_a_stopped_reply_goes_on_where_it_was_stopped(service: WebService, open_page: OpenPage) -> None:
    service.say("one two three four five")
    service.do(lambda: service.engine.hold_at(8))
    chat = open_page().open()
    chat.say("count")
    expect(chat.replies.last).not_to_be_empty()
    chat.button("Stop").click()
    chat.wait_until_idle()
    kept = chat.reply_text()
    service.do(service.engine.release)
    service.say(" and so on")
    chat.button("Continue").first.click()
    expect(chat.replies.last).to_have_text(f"{kept.rstrip()} and so on")
    chat.wait_until_idle()
    conversation = service.api("GET", "/api/conversations?limit=1")["data"][0]["id"]
    stored = service.api("GET", f"/api/conversations/{conversation}/messages")["data"][-1]["content"]
    assert chat.reply_text() == stored
    chat.page.reload()
    expect(chat.replies.last).to_contain_text("and so on")
    assert chat.reply_text() == stored
