"""A reply that is cut: sockets, reloads, crashes and restarts. What is shown at the end is what is stored."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.web.chat_page import ChatPage
from tests.web.conftest import OpenPage
from tests.web.service import WebService

REPLY = "".join(f"слово {n} — word\n  " for n in range(8)) + "кінець."
NUM_TOKENS = 150  # a few less than the tiny tokenizer makes of it
SETTINGS = {"settings": {"max_new_tokens": 400}}


def new_conversation(service: WebService) -> str:
    return str(service.api("POST", "/api/conversations", json=SETTINGS)["id"])


def stored_reply(service: WebService, conversation: str) -> dict[str, object]:
    message: dict[str, object] = service.api("GET", f"/api/conversations/{conversation}/messages")["data"][-1]
    return message


def held_reply(service: WebService, open_page: OpenPage, num_tokens: int) -> tuple[ChatPage, str]:
    """A page that shows a reply of which `num_tokens` are there until the engine is released; and its conversation."""
    service.say(REPLY)
    service.do(lambda: service.engine.hold_at(num_tokens))
    conversation = new_conversation(service)
    chat = open_page(service.url).open(f"/#{conversation}")
    chat.say("go on")
    return chat, conversation


def expect_whole(chat: ChatPage) -> None:
    expect(chat.replies.last).to_contain_text("кінець.")
    chat.wait_until_idle()
    assert chat.reply_text() == REPLY


def test_a_socket_cut_at_every_tenth_token_changes_nothing(service: WebService, open_page: OpenPage) -> None:
    chat, conversation = held_reply(service, open_page, 10)
    seen = ""
    for num_tokens in range(10, NUM_TOKENS, 10):
        shown = service.engine.decode(service.engine.encode(REPLY)[: num_tokens - 8])
        chat.page.wait_for_function(
            "length => (document.querySelector('.is-live .text')?.textContent.length ?? 0) >= length",
            arg=len(shown.rstrip("\ufffd \n")),
        )
        text = chat.reply_text()
        assert text.startswith(seen)  # nothing is taken back, nothing comes twice
        assert REPLY.startswith(text)
        seen = text
        service.do(service.proxy.cut)
        service.do(lambda: service.engine.hold_at(num_tokens + 10))  # noqa: B023 (called at once)
        service.do(service.engine._notify)
    service.do(service.engine.release)
    expect_whole(chat)
    assert stored_reply(service, conversation)["content"] == REPLY


def test_a_connection_that_breaks_after_a_few_bytes_again_and_again_still_brings_all(
    service: WebService, open_page: OpenPage
) -> None:
    service.say(REPLY)
    conversation = new_conversation(service)
    chat = open_page().open(f"/#{conversation}")
    service.do(lambda: setattr(service.engine, "pace_s", 0.002))
    service.do(lambda: setattr(service.proxy, "cut_after", 6000))
    service.do(service.proxy.cut)
    chat.say("go on")
    expect(chat.replies.last).to_contain_text("кінець.", timeout=20_000)
    service.do(lambda: setattr(service.proxy, "cut_after", None))
    chat.wait_until_idle()
    assert service.proxy.num_cuts > 1
    assert chat.reply_text() == REPLY


def test_a_reload_in_the_middle_brings_the_whole_text(service: WebService, open_page: OpenPage) -> None:
    chat, _ = held_reply(service, open_page, 40)
    expect(chat.replies.last).to_contain_text("слово 1")
    for _ in range(2):
        chat.page.reload()
        expect(chat.replies.last).to_contain_text("слово 1")
        assert REPLY.startswith(chat.reply_text())
    service.do(service.engine.release)
    expect_whole(chat)


def test_a_second_window_sees_the_reply_too(service: WebService, open_page: OpenPage) -> None:
    first, conversation = held_reply(service, open_page, 40)
    expect(first.replies.last).to_contain_text("слово 1")
    second = open_page().open(f"/#{conversation}")
    expect(second.replies.last).to_contain_text("слово 1")
    expect(second.button("Stop")).to_be_visible()
    service.do(service.engine.release)
    for chat in (first, second):
        expect_whole(chat)


def test_a_reply_goes_on_while_another_conversation_is_looked_at(service: WebService, open_page: OpenPage) -> None:
    service.say(REPLY)
    service.do(lambda: service.engine.hold_at(40))
    chat = open_page().open()
    chat.page.get_by_role("spinbutton", name="Reply length, exact value").fill("400")
    chat.say("a long one")
    expect(chat.replies.last).to_contain_text("слово 1")
    chat.page.locator(".new-chat").click()
    expect(chat.texts).to_have_count(0)
    service.do(service.engine.release)
    service.await_(service.engine.wait_until_idle())
    chat.page.get_by_role("button", name="a long one", exact=True).click()
    expect_whole(chat)


def test_a_crash_of_the_worker_leaves_what_was_written_and_says_so(service: WebService, open_page: OpenPage) -> None:
    chat, conversation = held_reply(service, open_page, 60)
    expect(chat.replies.last).to_contain_text("слово 2")
    service.do(service.engine.crash)
    expect(chat.page.get_by_text("The reply was interrupted. What is here is stored.")).to_be_visible()
    assert chat.reply_text() == stored_reply(service, conversation)["content"]
    service.do(service.engine.recover)


@pytest.fixture
def own_service(tmp_path: Path) -> object:
    with WebService(tmp_path) as service:
        yield service


def test_a_reply_cut_at_every_tenth_token_in_turn_by_socket_reload_and_restart_is_the_uncut_one(
    own_service: WebService, open_page: OpenPage
) -> None:
    service = own_service
    chat, conversation = held_reply(service, open_page, 10)
    ids = service.engine.encode(REPLY)
    num_before = 0  # tokens of earlier lives of the service
    for index, num_tokens in enumerate(range(10, NUM_TOKENS, 10)):
        shown = service.engine.decode(ids[: num_tokens - 8]).rstrip("\ufffd \n")
        chat.page.wait_for_function(
            "length => (document.querySelector('.is-live .text')?.textContent.length ?? 0) >= length", arg=len(shown)
        )
        assert REPLY.startswith(chat.reply_text())
        kind = ("cut", "reload", "restart")[index % 3]
        if kind == "restart":
            service.stop()
            service.start()
            ending = chat.page.get_by_text("The reply was interrupted. What is here is stored.")
            expect(ending).to_be_visible(timeout=30_000)
            message = stored_reply(service, conversation)
            assert chat.reply_text() == message["content"]
            url = f"/api/conversations/{conversation}/messages/{message['id']}/tokens"
            num_before = len(service.api("GET", url)["reply_token_ids"])
            service.do(lambda: service.engine.say(ids[num_before:]))  # noqa: B023 (called at once)
        elif kind == "cut":
            service.do(service.proxy.cut)
        num_next = num_tokens + 10 - num_before
        service.do(lambda: service.engine.hold_at(num_next))  # noqa: B023 (called at once)
        service.do(service.engine._notify)
        if kind == "reload":
            chat.page.reload()
        elif kind == "restart":
            chat.button("Continue").first.click()
    service.do(service.engine.release)
    expect_whole(chat)
    assert stored_reply(service, conversation)["content"] == REPLY
    assert service.engine.requests[-1].prompt_token_ids[-num_before:] == ids[:num_before]


def test_a_restart_of_the_service_loses_and_doubles_nothing(own_service: WebService, open_page: OpenPage) -> None:
    service = own_service
    chat, conversation = held_reply(service, open_page, 60)
    expect(chat.replies.last).to_contain_text("слово 2")
    chat.field.fill("typed meanwhile")
    service.stop()
    expect(chat.page.get_by_text(re.compile("The service can't be reached"))).to_be_visible()
    assert REPLY.startswith(chat.reply_text())
    service.start()
    service.say("All is well")
    expect(chat.page.get_by_text("The reply was interrupted. What is here is stored.")).to_be_visible(timeout=15_000)
    kept = stored_reply(service, conversation)["content"]
    assert kept
    assert chat.reply_text() == kept
    expect(chat.field).to_have_value("typed meanwhile")
    chat.field.press("Enter")
    chat.wait_for_reply("All is well")
