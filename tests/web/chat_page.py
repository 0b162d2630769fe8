"""The chat page as its user meets it: by names and roles."""

from typing import Any, Self

from playwright.sync_api import Locator, Page, expect


class ChatPage:
    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def open(self, path: str = "/") -> Self:
        self.page.goto(f"{self.url}{path}")
        expect(self.field).to_be_visible()
        return self

    @property
    def field(self) -> Locator:
        return self.page.locator("#say")

    @property
    def texts(self) -> Locator:
        """Of the shown messages, in order."""
        return self.page.locator("g2-message .text")

    @property
    def replies(self) -> Locator:
        return self.page.locator("g2-message.assistant .text")

    @property
    def rows(self) -> Locator:
        return self.page.locator(".row-title")

    @property
    def pending(self) -> Locator:
        return self.page.locator(".pending-state")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def say(self, text: str) -> None:
        self.field.fill(text)
        self.field.press("Enter")

    def ask(self, text: str, reply: str) -> None:
        """Say something and wait for the whole reply."""
        self.say(text)
        self.wait_for_reply(reply)

    def wait_for_reply(self, reply: str) -> None:
        expect(self.replies.last).to_have_text(reply)
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        expect(self.page.locator(".is-live")).to_have_count(0)
        expect(self.page.locator(".pending")).to_have_count(0)

    def reply_text(self) -> str:
        """Byte for byte: what the element holds, not what a matcher makes of its white space."""
        return str(self.replies.last.evaluate("element => element.textContent"))

    def js(self, module: str, body: str, argument: Any = None) -> Any:
        """Run `body` as an async function of (m, argument), with `m` one of the page's own modules."""
        return self.page.evaluate(
            f"""async (argument) => {{
                const base = document.querySelector('script[type=module]').src.replace(/main\\.js$/, '');
                const m = await import(base + '{module}');
                return await (async (m, argument) => {{ {body} }})(m, argument);
            }}""",
            argument,
        )
