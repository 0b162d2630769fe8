"""The page on the real service with the bundled model, in a process of its own."""

from pathlib import Path

from playwright.sync_api import expect

from tests.e2e.service import Service
from tests.web.conftest import OpenPage


def test_the_bundled_model_answers_on_the_page(tmp_path: Path, open_page: OpenPage) -> None:
    with Service(tmp_path / "data") as service:
        service.wait_for("/livez")
        chat = open_page(service.url, lang="uk").open()  # while the model is still on its way
        chat.say("Привіт! Хто ти?")
        expect(chat.page.locator("g2-message.assistant .foot")).to_have_count(1, timeout=60_000)
        conversation = service.client.get("/api/conversations").json()["data"][0]
        reply = service.messages(conversation["id"])[-1]
        assert reply["status"] == "completed"
        assert chat.reply_text() == reply["content"]
        assert str(reply["content"]).strip()
        chat.button("Як написано цю відповідь").click()
        expect(chat.page.get_by_role("dialog")).to_contain_text(str(reply["settings"]["seed"]))  # type: ignore[index]
