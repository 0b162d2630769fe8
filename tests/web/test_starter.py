"""The page on the real service with the bundled model, in a process of its own."""

import math
from pathlib import Path

import pytest
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
        chat.button("Звідки взявся кожен токен").click()
        place = {"conversation_id": conversation["id"], "message_id": reply["id"], "num_reply_tokens": 0}
        likeliest = service.client.post("/api/next-token", json={**place, "top_n": 10}).json()["tokens"]
        for setting, value in (("Температура", "1"), ("Top-k", "0"), ("Top-p", "1"), ("Штраф за повтори", "1")):
            chat.page.get_by_role("spinbutton", name=f"{setting}, точне значення").fill(value)
            chat.page.keyboard.press("Enter")
        for column in ("raw", "scored", "drawn"):
            shown = chat.page.locator(f".bars tbody .is-{column}")
            expect(shown.first).to_have_text(f"{100 * math.exp(likeliest[0]['logprob']):.1f}%".replace(".", ","))
            assert [float(each[:-1].replace(",", ".")) for each in shown.all_inner_texts()[:10]] == pytest.approx(
                [100 * math.exp(each["logprob"]) for each in likeliest], abs=0.051
            )
        chat.page.keyboard.press("Escape")
        chat.button("Як написано цю відповідь").click()
        expect(chat.page.get_by_role("dialog")).to_contain_text(str(reply["settings"]["seed"]))  # type: ignore[index]
