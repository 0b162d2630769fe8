"""Pictures of the page for the documents, from the real service with the bundled model: `make screenshots`."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright
from tests.e2e.service import Service
from tests.web.chat_page import ChatPage
from tests.web.chromium import FLAGS, find_chromium

ROOT = Path(__file__).resolve().parents[1]

TALKS = {
    "en": ("Hello! Who are you?", "How are you today?"),
    "uk": ("Привіт! Хто ти?", "Чи ти людина?"),
}
# Name: language, theme, width, height.
PICTURES = {
    "chat": ("en", "light", 1360, 820),
    "chat-uk-dark": ("uk", "dark", 1360, 820),
    "inspector": ("en", "light", 1360, 820),
    "inspector-uk-dark": ("uk", "dark", 1360, 820),
    "phone": ("en", "light", 390, 780),
    "phone-uk-dark": ("uk", "dark", 390, 780),
    "phone-inspector": ("uk", "light", 390, 780),
}


def take(browser: Browser, service: Service, name: str, folder: Path) -> None:
    lang, theme, width, height = PICTURES[name]
    context = browser.new_context(
        locale=lang,
        color_scheme=theme,  # type: ignore[arg-type]
        viewport={"width": width, "height": height},
        has_touch=width < 600,
        is_mobile=width < 600,
    )
    chat = ChatPage(context.new_page(), service.url).open()
    for count, text in enumerate(TALKS[lang], start=1):
        chat.field.fill(text)
        chat.button({"en": "Send", "uk": "Надіслати"}[lang]).click()
        expect(chat.page.locator("g2-message.assistant .foot")).to_have_count(count)
    if "inspector" in name:
        inspect(chat, service)
    chat.page.screenshot(path=folder / f"{name}.png")
    context.close()


def inspect(chat: ChatPage, service: Service) -> None:
    """The latest reply, at the token where the model was least sure."""
    conversation = chat.page.evaluate("location.hash.slice(1)")
    reply = service.messages(conversation)[-1]
    place = {"conversation_id": conversation, "message_id": reply["id"]}
    url = f"/api/conversations/{conversation}/messages/{reply['id']}/tokens"
    entropies = []
    for num_tokens in range(len(service.client.get(url).json()["reply_token_ids"])):
        answer = service.client.post("/api/next-token", json={**place, "num_reply_tokens": num_tokens})
        entropies.append(answer.json()["entropy"])
    chat.page.locator("g2-message.assistant .actions button").nth(-2).click()
    token = chat.page.get_by_role("option").nth(entropies.index(max(entropies)))
    token.click()
    chat.page.keyboard.press("Shift")  # the ring that keys bring
    expect(chat.page.locator(".bars tbody tr").first).to_be_visible()
    chat.page.wait_for_timeout(500)


def main() -> None:
    expect.set_options(timeout=60_000)
    folder = ROOT / "docs" / "images"
    folder.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        Service(Path(data) / "data") as service,
        sync_playwright() as playwright,
    ):
        service.wait_until_ready()
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        for name in PICTURES:
            take(browser, service, name, folder)
            sys.stdout.write(f"{folder / name}.png\n")
        browser.close()


if __name__ == "__main__":
    main()
