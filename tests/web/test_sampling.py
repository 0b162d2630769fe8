"""The sampling panel: its limits are the service's own, and what it shows is what is sent and stored."""

import json

from playwright.sync_api import expect

from gpt2svc.generation.settings import SETTING_SPECS
from tests.web.conftest import OpenPage
from tests.web.service import WebService


def test_every_setting_has_the_limits_and_defaults_of_the_service(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    chat.page.get_by_text("More settings").click()
    names = chat.js("store/sampling.js", "return Object.keys(m.RANGES)")
    assert len(names) >= 11
    for name in names:
        spec = SETTING_SPECS[name]
        number = chat.page.locator(f".setting:has(#setting-{name}) input[type=number]")
        assert float(number.get_attribute("min") or "nan") == spec.minimum, name
        assert float(number.get_attribute("max") or "nan") == spec.maximum, name
        assert float(number.input_value()) == spec.default, name
        slider = chat.page.locator(f"#setting-{name}")
        assert float(slider.input_value()) == spec.default, name


def test_moved_sliders_are_in_the_request_and_stored_with_the_reply(service: WebService, open_page: OpenPage) -> None:
    service.say("ok")
    chat = open_page().open()
    slider = chat.page.get_by_role("slider", name="Temperature")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowRight")
    chat.page.get_by_role("slider", name="Top-k").evaluate(
        "e => { e.value = '20'; e.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    penalty = chat.page.get_by_role("spinbutton", name="Repetition penalty, exact value")
    penalty.fill("3.5")
    penalty.press("Tab")
    chat.page.get_by_role("spinbutton", name="Seed").fill("42")
    with chat.page.expect_request(
        lambda request: request.url.endswith("/messages") and request.method == "POST"
    ) as sent:
        chat.say("Hello")
    expected = {"temperature": 0.9, "top_k": 20, "repetition_penalty": 3.5, "seed": 42}
    assert json.loads(sent.value.post_data or "")["settings"] == expected
    chat.wait_for_reply("ok")
    conversation = service.api("GET", "/api/conversations?limit=1")["data"][0]
    reply = service.api("GET", f"/api/conversations/{conversation['id']}/messages")["data"][-1]
    assert expected.items() <= reply["settings"].items()
    assert expected.items() <= conversation["settings"].items()
    chat.page.reload()
    expect(chat.page.get_by_role("spinbutton", name="Repetition penalty, exact value")).to_have_value("3.5")
    expect(chat.page.get_by_role("spinbutton", name="Seed")).to_have_value("42")


def test_each_conversation_has_its_own_settings_and_reset_puts_the_defaults_back(
    service: WebService, open_page: OpenPage
) -> None:
    service.say("ok")
    chat = open_page().open()
    chat.button("Creative").click()
    temperature = chat.page.get_by_role("spinbutton", name="Temperature, exact value")
    expect(temperature).to_have_value("1.1")
    chat.ask("A creative one", "ok")
    chat.page.locator(".new-chat").click()
    expect(temperature).to_have_value("0.7")
    chat.page.get_by_role("button", name="A creative one", exact=True).first.click()
    expect(temperature).to_have_value("1.1")
    with chat.page.expect_response(lambda response: response.request.method == "PATCH"):
        chat.button("Reset all").click()
    expect(temperature).to_have_value("0.7")
    conversation = service.api("GET", "/api/conversations?search=A%20creative%20one")["data"][0]
    assert conversation["settings"]["temperature"] == 0.7


def test_a_number_beyond_its_limits_is_brought_within_them(service: WebService, open_page: OpenPage) -> None:
    chat = open_page().open()
    temperature = chat.page.get_by_role("spinbutton", name="Temperature, exact value")
    for given, kept in (("99", "5"), ("-3", "0"), ("", "0.7"), ("0.123456", "0.123")):
        temperature.fill(given)
        temperature.press("Tab")
        expect(temperature).to_have_value(kept)


def test_the_seed_of_a_reply_can_be_locked(service: WebService, open_page: OpenPage) -> None:
    service.say("ok")
    chat = open_page().open()
    chat.ask("Hello", "ok")
    conversation = service.api("GET", "/api/conversations?limit=1")["data"][0]
    seed = service.api("GET", f"/api/conversations/{conversation['id']}/messages")["data"][-1]["settings"]["seed"]
    chat.button("Lock the seed").click()
    expect(chat.page.get_by_role("spinbutton", name="Seed")).to_have_value(str(seed))
    chat.button("Release the seed").click()
    expect(chat.page.get_by_role("spinbutton", name="Seed")).to_have_value("")
