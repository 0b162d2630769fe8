"""What can go wrong: each time the page says what happened, keeps what was typed, and offers what to do."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.web.conftest import OpenPage
from tests.web.service import WebService

KEY = "a-key-of-sixteen-characters"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebService]:
    with WebService(tmp_path_factory.mktemp("guarded"), api_key=KEY) as service:
        yield service


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebService]:
    """One reply at a time, none waiting, prompts of at most 64 tokens."""
    folder = tmp_path_factory.mktemp("small")
    with WebService(folder, max_num_seqs=1, max_queued_requests=0, prompt_max_tokens=64) as service:
        yield service


def test_service_down_keeps_the_message_and_sends_it_once_it_is_back(service: WebService, open_page: OpenPage) -> None:
    service.say("Here I am")
    chat = open_page().open()
    expect(chat.page.locator(".dot-ready").first).to_be_visible()
    service.proxy.is_down = True
    service.do(service.proxy.cut)
    chat.say("Are you there?")
    expect(chat.pending).to_contain_text("Not sent yet: the service can't be reached.")
    expect(chat.page.locator(".banner")).to_contain_text("The service can't be reached. Everything you typed is kept.")
    expect(chat.page.locator(".banner code")).to_have_text("gpt2svc serve")
    service.proxy.is_down = False
    chat.button("Try again").first.click()
    chat.wait_for_reply("Here I am")
    expect(chat.page.locator(".banner")).to_have_count(0)
    assert service.api("GET", "/api/conversations?limit=1")["data"][0]["num_messages"] == 2


def test_a_lost_answer_to_a_message_brings_no_second_one(service: WebService, open_page: OpenPage) -> None:
    service.say("Only once")
    conversation = service.api("POST", "/api/conversations", json={})["id"]
    chat = open_page().open(f"/#{conversation}")
    chat.page.evaluate(
        """() => {
            const real = window.fetch;
            window.fetch = async (url, options) => {
                const response = await real(url, options);
                if (options?.method !== "POST" || !String(url).endsWith("/messages")) return response;
                window.fetch = real;
                await response.body.cancel();
                throw new TypeError("the answer was lost");
            };
        }"""
    )
    chat.say("Hello?")
    chat.wait_for_reply("Only once")
    messages = service.api("GET", f"/api/conversations/{conversation}/messages")["data"]
    assert [message["content"] for message in messages] == ["Hello?", "Only once"]


def test_what_was_read_before_a_reply_came_does_not_hide_it(service: WebService, open_page: OpenPage) -> None:
    """A slow start: the page hears of the service between a conversation's first request and its message."""
    service.say("Quick")
    chat = open_page()
    chat.page.add_init_script(
        """{
            const real = window.fetch;
            const gate = () => {
                let open;
                return { promise: new Promise((resolve) => { open = resolve; }), open: () => open() };
            };
            const [health, read, shown] = [gate(), gate(), gate()];
            window.letGo = shown.open;
            window.fetch = async (url, options) => {
                if (String(url).endsWith("api/health")) await health.promise;
                if (!String(url).endsWith("/messages")) return real(url, options);
                if (options?.method === "POST") {
                    health.open();
                    await read.promise;
                    return real(url, options);
                }
                const response = await real(url, options);
                read.open();
                await shown.promise;
                return response;
            };
        }"""
    )
    chat.open()
    chat.ask("Hello", "Quick")
    with chat.page.expect_response(lambda response: response.request.method == "GET" and "/messages" in response.url):
        chat.page.evaluate("window.letGo()")  # what was read before the message was there; it is read again
    expect(chat.texts).to_have_text(["Hello", "Quick"])


def test_what_was_not_sent_before_a_reload_is_still_there(service: WebService, open_page: OpenPage) -> None:
    service.say("Late but here")
    chat = open_page().open()
    expect(chat.page.locator(".dot-ready").first).to_be_visible()
    chat.page.route("**/api/conversations", lambda route: route.abort())
    chat.say("do not lose me")
    expect(chat.pending).to_contain_text("Not sent yet")
    chat.page.unroute("**/api/conversations")
    chat.page.reload()
    expect(chat.pending).to_contain_text("Not sent before the page was closed.")
    chat.button("Back to the field").click()
    expect(chat.field).to_have_value("do not lose me")
    chat.field.press("Enter")
    chat.wait_for_reply("Late but here")


def test_loading_shows_progress_and_sends_when_ready(service: WebService, open_page: OpenPage) -> None:
    service.say("Awake")
    engine = service.engine
    service.do(lambda: engine.set_status("loading", stage="Reading weights", percent=42.0, has_tokenizer=False))
    chat = open_page().open()
    expect(chat.page.locator(".banner")).to_contain_text("The model is being loaded: Reading weights")
    expect(chat.page.get_by_role("progressbar")).to_have_attribute("value", "42")
    chat.say("Good morning")
    expect(chat.pending).to_contain_text("The model is still loading. Your message is kept")
    service.do(engine.recover)
    chat.wait_for_reply("Awake")


def test_a_failed_model_is_explained(service: WebService, open_page: OpenPage) -> None:
    service.do(lambda: service.engine.fail("model.safetensors is cut."))
    chat = open_page().open()
    expect(chat.page.get_by_role("alert")).to_contain_text("The model could not be loaded. model.safetensors is cut.")
    chat.say("Hello?")
    expect(chat.page.get_by_role("log")).to_contain_text("Hello?")
    expect(chat.page.get_by_role("log")).to_contain_text("The model can't answer right now. Your text is kept")
    chat.button("Back to the field").click()
    expect(chat.field).to_have_value("Hello?")


def test_a_queued_reply_says_its_place(service: WebService, open_page: OpenPage) -> None:
    service.do(lambda: service.engine.hold_at(0))
    for _ in range(2):
        conversation = service.api("POST", "/api/conversations", json={})["id"]
        service.do(lambda: None)
        with_stream = open_page().open(f"/#{conversation}")
        with_stream.say("hold")
        expect(with_stream.page.locator(".is-live")).to_have_count(1)
    expect(with_stream.page.locator(".progress")).to_contain_text("Waiting: 1 reply is ahead")
    service.do(service.engine.release)
    with_stream.wait_until_idle()


def test_a_full_service_is_waited_for_and_then_answers(small: WebService, open_page: OpenPage) -> None:
    small.say("Your turn")
    small.do(lambda: small.engine.hold_at(0))
    first = open_page(small.url).open()
    first.say("first")
    expect(first.page.locator(".is-live")).to_have_count(1)
    second = open_page(small.url, lang="uk").open()
    second.say("друга")
    expect(second.pending).to_contain_text("Сервіс зайнятий. Повідомлення збережено, воно надішлеться через")
    small.do(small.engine.release)
    first.wait_until_idle()
    second.wait_for_reply("Your turn")


def test_what_no_longer_fits_is_told(small: WebService, open_page: OpenPage) -> None:
    small.say("A reply of quite some words, so that the window fills up soon.")
    chat = open_page(small.url).open()
    chat.ask("one", "A reply of quite some words, so that the window fills up soon.")
    expect(chat.page.locator(".dropped")).to_have_count(0)
    chat.ask("two", "A reply of quite some words, so that the window fills up soon.")
    expect(chat.page.locator(".dropped")).to_have_text(re.compile(r"^2 older messages are no longer read$"))
    expect(chat.page.locator(".is-dropped")).to_have_count(2)
    chat.page.reload()
    expect(chat.page.locator(".is-dropped")).to_have_count(2)
    chat.say("x" * 300)
    expect(chat.pending).to_contain_text("This message alone is longer than the model can read.")
    chat.button("Back to the field").click()
    expect(chat.field).to_have_value("x" * 300)


def test_a_refused_setting_is_told_at_its_slider(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    chat.page.get_by_text("More settings").click()
    least = chat.page.get_by_role("spinbutton", name="Least length, exact value")
    least.fill("200")
    least.press("Tab")
    chat.say("Hello")
    expect(chat.pending).to_contain_text("The service did not accept this")
    expect(chat.page.locator("#about-min_new_tokens")).to_contain_text("is more than max_new_tokens")
    chat.button("Back to the field").click()
    least.fill("0")
    least.press("Tab")
    expect(chat.page.locator("#about-min_new_tokens")).not_to_contain_text("is more than")
    service.say("Fine now")
    chat.field.press("Enter")
    chat.wait_for_reply("Fine now")


def test_a_busy_conversation_shows_the_reply_in_progress(service: WebService, open_page: OpenPage) -> None:
    service.say("the other window's reply")
    conversation = service.api("POST", "/api/conversations", json={})["id"]
    here = open_page().open(f"/#{conversation}")
    expect(here.page.locator(".welcome")).to_be_visible()
    there = open_page().open(f"/#{conversation}")
    service.do(lambda: service.engine.hold_at(5))
    there.say("from there")
    expect(there.page.locator(".is-live")).to_have_count(1)
    here.say("from here")
    expect(here.pending).to_contain_text("A reply is being written in this conversation")
    expect(here.texts.first).to_have_text("from there")
    service.do(service.engine.release)
    expect(here.replies.last).to_have_text("the other window's reply")
    here.button("Back to the field").click()
    expect(here.field).to_have_value("from here")


def test_blocked_storage_is_told_and_the_page_works(service: WebService, open_page: OpenPage) -> None:
    service.say("Still fine")
    chat = open_page()
    chat.page.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('blocked', 'SecurityError'); }})"
    )
    chat.open()
    chat.ask("Hello", "Still fine")
    expect(chat.page.locator(".banner")).to_contain_text("This browser keeps nothing for us")


def test_the_key_is_asked_for_and_kept(guarded: WebService, open_page: OpenPage) -> None:
    guarded.say("Come in")
    chat = open_page(guarded.url).open()
    dialog = chat.page.get_by_role("dialog", name="API key")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Key", exact=True).fill("wrong")
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog.get_by_role("alert")).to_have_text("The service did not accept the last key.")
    dialog.get_by_label("Key", exact=True).fill(KEY)
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog).to_have_count(0)
    chat.ask("Hello", "Come in")
    chat.page.reload()
    expect(chat.replies.last).to_have_text("Come in")
    expect(chat.page.get_by_role("dialog")).to_have_count(0)


def test_a_deleted_conversation_is_told(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open("/#conv_01aaaaaaaaaaaaaaaaaaaaaaaa")
    expect(chat.page.get_by_text("There is no such conversation. It may have been deleted.")).to_be_visible()
    chat.page.locator(".welcome").get_by_role("button").click()
    expect(chat.page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()
