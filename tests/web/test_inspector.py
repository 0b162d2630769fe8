"""The inspector: a reply's tokens, what else could have stood at each place, and branches from there."""

import math
from typing import Any

from playwright.sync_api import Locator, expect

from tests.web.chat_page import ChatPage
from tests.web.conftest import OpenPage
from tests.web.service import WebService

REPLY = " hello the world"


def inspect(service: WebService, chat: ChatPage, reply: str = REPLY) -> None:
    """Say something, and open the reply."""
    service.say(reply)
    chat.ask("Hi", reply.strip())
    chat.button("Where each token came from").click()
    expect(rows(chat).first).to_be_visible()


def tokens(chat: ChatPage) -> Locator:
    return chat.page.get_by_role("option")


def rows(chat: ChatPage) -> Locator:
    return chat.page.locator(".bars tbody tr")


def shares(chat: ChatPage, column: str) -> list[str]:
    return chat.page.locator(f".bars tbody .is-{column}").all_inner_texts()


def move(chat: ChatPage, setting: str, value: float) -> None:
    chat.page.get_by_role("spinbutton", name=f"{setting}, exact value").fill(str(value))
    chat.page.keyboard.press("Enter")


def neutral(chat: ChatPage) -> None:
    """The settings with which nothing changes what the model says."""
    for setting, value in (("Temperature", 1), ("Top-k", 0), ("Top-p", 1), ("Repetition penalty", 1)):
        move(chat, setting, value)


def last_conversation(service: WebService) -> str:
    return str(service.api("GET", "/api/conversations?limit=1")["data"][0]["id"])


def test_tokens_and_the_prompt_are_those_of_the_replys_making(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    inspect(service, chat)
    ids = service.engine.encode(REPLY)
    texts = [service.engine.decode([token_id]) for token_id in ids]
    shown = tokens(chat).evaluate_all("all => all.map((each) => each.textContent)")
    assert shown == ["␣" if text == " " else text for text in texts] + ["end"]
    prompt = service.engine.requests[0].prompt_token_ids
    chat.page.get_by_text(f"Prompt as sent: {len(prompt)} tokens").click()
    assert chat.page.locator("#prompt").evaluate("e => e.textContent") == "User: Hi\nAssistant:"
    expect(chat.page.get_by_text(f"Prompt and reply: {len(prompt) + len(ids)} of 1,024 tokens")).to_be_visible()


def test_bars_follow_the_sliders_without_asking_again(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    inspect(service, chat)
    neutral(chat)
    asked: list[str] = []
    chat.page.on("request", lambda request: asked.append(request.url) if "next-token" in request.url else None)
    # The scripted engine: each token e times as likely as the next one.
    first = 1 - math.exp(-1)
    expect(chat.page.locator(".bars tbody .is-drawn").first).to_have_text(f"{first:.1%}")
    assert shares(chat, "raw") == shares(chat, "scored") == shares(chat, "drawn")
    expect(rows(chat)).to_have_count(11)  # ten, and the token that was chosen
    move(chat, "Top-k", 2)
    share = 1 / (1 + math.exp(-1))
    expect(chat.page.locator(".bars tbody .is-drawn").first).to_have_text(f"{share:.1%}")
    assert shares(chat, "drawn")[1:3] == [f"{1 - share:.1%}", "–"]
    assert shares(chat, "sum")[1] == "100.0%"
    assert shares(chat, "raw")[0] == f"{first:.1%}"
    expect(chat.page.locator(".bars tr.is-out")).to_have_count(9)
    expect(chat.page.get_by_text("2 of 272 tokens are kept.")).to_be_visible()
    move(chat, "Temperature", 2)
    assert shares(chat, "scored")[0] == f"{1 - math.exp(-0.5):.1%}"
    width = chat.page.locator(".bars .bar-0").evaluate_all("all => all.map((each) => each.getAttribute('width'))")
    assert float(width[0]) == 100.0 * first / max(first, 1 / (1 + math.exp(-0.5)))
    slider = chat.page.locator("#setting-temperature")
    slider.focus()
    chat.page.keyboard.press("Home")  # greedy
    expect(chat.page.get_by_text("1 of 272 tokens is kept.")).to_be_visible()
    assert shares(chat, "drawn")[:2] == ["100.0%", "–"]
    assert asked == []


def test_keys_walk_through_the_tokens_and_the_pointer_only_looks(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    inspect(service, chat)
    chat.page.mouse.move(5, 5)
    expect(tokens(chat).first).to_be_focused()
    assert tokens(chat).evaluate_all("all => all.filter((each) => each.tabIndex === 0).length") == 1
    heading = chat.page.get_by_role("heading", name="Token 1", exact=True)
    expect(heading).to_be_visible()
    chat.page.keyboard.press("ArrowRight")
    expect(tokens(chat).nth(1)).to_be_focused()
    expect(tokens(chat).nth(1)).to_have_attribute("aria-selected", "true")
    expect(chat.page.get_by_role("heading", name="Token 2", exact=True)).to_be_visible()
    expect(rows(chat).first).to_be_visible()
    prompt = service.engine.requests[0].prompt_token_ids
    assert service.engine.requests[-1].prompt_token_ids == prompt + service.engine.encode(REPLY)[:1]
    tokens(chat).nth(3).hover()
    expect(chat.page.get_by_role("heading", name="Token 4", exact=True)).to_be_visible()
    expect(tokens(chat).nth(1)).to_be_focused()
    chat.page.mouse.move(5, 5)
    expect(chat.page.get_by_role("heading", name="Token 2", exact=True)).to_be_visible()
    chat.page.keyboard.press("Enter")
    expect(chat.page.locator("button.pick").first).to_be_focused()
    tokens(chat).nth(1).focus()
    chat.page.keyboard.press("End")
    expect(tokens(chat).last).to_be_focused()
    expect(chat.page.locator(".is-chosen")).to_have_count(0)  # nothing has been chosen there
    expect(rows(chat)).to_have_count(10)
    assert service.engine.requests[-1].prompt_token_ids == prompt + service.engine.encode(REPLY)
    chat.page.keyboard.press("Escape")
    expect(chat.page.locator("g2-inspector")).to_have_count(0)
    expect(chat.button("Where each token came from")).to_be_focused()


def test_another_token_begins_a_version_that_goes_on_from_there(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    inspect(service, chat)
    move(chat, "Temperature", 1.3)
    own = service.engine.encode(REPLY)
    tokens(chat).nth(1).click()
    expect(chat.page.get_by_role("heading", name="Token 2", exact=True)).to_be_visible()
    picks = chat.page.locator("button.pick")
    expect(picks).to_have_count(10)
    # The scripted engine's likeliest after a token is that token again.
    (text,) = {service.engine.decode(own[:1])}
    service.say(" and on")
    picks.first.click()
    expect(chat.page.locator("g2-inspector")).to_have_count(0)
    kept = text.strip() + text
    chat.wait_for_reply(f"{kept} and on")
    request = service.engine.requests[-1]
    assert request.prompt_token_ids == service.engine.requests[0].prompt_token_ids + own[:1] * 2
    assert (request.num_reply_tokens, request.params.temperature) == (2, 1.3)
    expect(chat.page.get_by_role("group", name="Versions")).to_contain_text("2/2")
    chat.page.reload()
    expect(chat.replies.last).to_have_text(f"{kept} and on")
    messages: list[dict[str, Any]] = service.api("GET", f"/api/conversations/{last_conversation(service)}/messages")[
        "data"
    ]
    assert [each["content"] for each in messages[1:]] == [REPLY.strip(), f"{kept} and on"]
    assert messages[1]["parent_id"] == messages[2]["parent_id"]
    assert messages[1]["settings"]["seed"] == messages[2]["settings"]["seed"] == request.params.seed


def test_a_reply_in_other_words_says_so(service: WebService, open_page: OpenPage) -> None:
    service.say("I am a cat")
    chat = open_page().open()
    chat.ask("Who are you?", "I am a cat")
    note = chat.page.get_by_text("This text was not written by this very model")
    chat.button("Where each token came from").click()
    expect(rows(chat).first).to_be_visible()
    expect(note).to_have_count(0)
    chat.page.keyboard.press("Escape")
    chat.page.locator("g2-message.assistant").get_by_role("button", name="Edit", exact=True).click()
    chat.page.get_by_role("textbox", name="Edit").fill("I am a lighthouse")
    chat.button("Save").click()
    chat.button("Where each token came from").click()
    expect(note).to_be_visible()
    assert tokens(chat).count() == len(service.engine.encode(" I am a lighthouse")) + 1


def test_any_text_can_be_looked_after_and_written_on_token_by_token(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    chat.button("What comes next?").click()
    field = chat.page.get_by_role("textbox", name="Any text")
    expect(field).to_be_focused()
    expect(rows(chat)).to_have_count(0)
    field.fill("hello the")
    ids = service.engine.encode("hello the")
    heading = chat.page.get_by_role("heading", name=f"Token {len(ids) + 1}", exact=True)
    expect(heading).to_be_visible()
    expect(rows(chat)).to_have_count(10)
    assert service.engine.requests[-1].prompt_token_ids == ids
    # The token that has been is the likeliest, but for the penalty on what has been.
    neutral(chat)
    expect(chat.page.locator(".pick").first).to_have_text(service.engine.decode(ids[-1:]))
    move(chat, "Repetition penalty", 10)
    expect(chat.page.locator(".pick").first).not_to_have_text(service.engine.decode(ids[-1:]))
    move(chat, "Repetition penalty", 1)
    chat.page.locator("button.pick").first.click()
    expect(field).to_have_value("hello the the")
    expect(chat.page.get_by_role("heading", name=f"Token {len(ids) + 2}", exact=True)).to_be_visible()
    expect(rows(chat)).to_have_count(10)
    assert service.engine.requests[-1].prompt_token_ids == (*ids, ids[-1])
    chat.page.route("**/next-token", lambda route: route.abort())
    field.fill("hello")
    problem = chat.page.get_by_role("alert").filter(has_text="The service can't be reached.").first
    expect(problem).to_be_visible()
    chat.page.unroute("**/next-token")
    problem.get_by_role("button", name="Try again").press("Enter")
    expect(rows(chat)).to_have_count(10)
    expect(field).to_have_value("hello")
    field.fill("")
    expect(rows(chat)).to_have_count(0)
    chat.page.keyboard.press("Escape")
    expect(chat.page.locator("g2-inspector")).to_have_count(0)
    assert service.engine.active == {}


def test_a_refusal_is_told_and_asked_again(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    inspect(service, chat)
    busy = {"error": {"message": "Full", "code": "overloaded", "type": "overloaded_error", "param": None}}
    chat.page.route("**/next-token", lambda route: route.fulfill(status=429, headers={"Retry-After": "3"}, json=busy))
    chat.page.keyboard.press("ArrowRight")
    problem = chat.page.get_by_role("alert").filter(has_text="The service has all the work it can take.")
    expect(problem).to_be_visible()
    chat.page.unroute("**/next-token")
    problem.get_by_role("button", name="Try again").press("Enter")
    expect(rows(chat).first).to_be_visible()
    chat.page.route("**/tokens", lambda route: route.abort())
    chat.page.keyboard.press("Escape")
    chat.button("Where each token came from").click()
    expect(chat.page.get_by_role("alert").filter(has_text="The service can't be reached.").first).to_be_visible()
    chat.page.unroute("**/tokens")
    chat.page.locator("g2-inspector").get_by_role("button", name="Try again").press("Enter")
    expect(rows(chat).first).to_be_visible()


def test_the_way_back_and_another_conversation_leave_the_inspector(service: WebService, open_page: OpenPage) -> None:
    chat = open_page(lang="uk").open()
    service.say("Ні")
    chat.ask("Так", "Ні")
    chat.button("Звідки взявся кожен токен").click()
    expect(rows(chat).first).to_be_visible()
    expect(chat.field).to_be_hidden()
    chat.button("EN").click()
    expect(chat.page.get_by_role("heading", name="Where each token came from")).to_be_visible()
    expect(chat.page.get_by_role("columnheader", name="Kept")).to_be_visible()
    chat.button("UK").click()
    chat.button("Назад до розмови").click()
    expect(chat.field).to_be_visible()
    expect(chat.replies.last).to_have_text("Ні")
    chat.button("Звідки взявся кожен токен").click()
    expect(rows(chat).first).to_be_visible()
    chat.page.locator(".new-chat").click()
    expect(chat.page.locator("g2-inspector")).to_have_count(0)
    expect(chat.field).to_be_visible()


def test_on_a_phone_the_sliders_come_in_a_sheet(service: WebService, open_page: OpenPage) -> None:
    chat = open_page(width=360, height=740).open()
    inspect(service, chat)
    assert chat.page.evaluate("document.documentElement.scrollWidth") <= 360
    chat.page.locator("g2-inspector").get_by_role("button", name="Sampling").click()
    slider = chat.page.locator("#setting-top_k")
    expect(slider).to_be_visible()
    slider.focus()
    chat.page.keyboard.press("Home")
    chat.page.keyboard.press("ArrowRight")
    expect(chat.page.get_by_text("1 of 272 tokens is kept.")).to_have_count(1)
    chat.page.keyboard.press("Escape")
    expect(slider).to_be_hidden()
    expect(rows(chat).first).to_be_visible()
