from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.web.chat_page import ChatPage
from tests.web.chromium import FLAGS, find_chromium
from tests.web.service import WebService

HERE = Path(__file__).parent
expect.set_options(timeout=20_000)  # a machine that other tests share
OpenPage = Callable[..., ChatPage]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each file: while Playwright's own loop is there, no asynchronous test can run in this process."""
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebService]:
    with WebService(tmp_path_factory.mktemp("web")) as service:
        yield service


@pytest.fixture(autouse=True)
def nothing_left_over(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test's script, holds and cuts end with it."""
    yield
    if "service" not in request.fixturenames:
        return
    service: WebService = request.getfixturevalue("service")
    service.proxy.is_down = False
    service.proxy.cut_after = None
    engine = service.engine
    engine.pace_s, engine.tokens_per_step = 0.0, 1

    def quiet() -> None:
        engine._script.clear()
        engine.recover()
        engine.release()

    service.do(quiet)
    service.await_(engine.wait_until_idle())


@pytest.fixture
def open_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """A page in a browser profile of its own. At the end none may have met an error or asked another origin."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_(
        url: str = "",
        *,
        lang: str = "en",
        theme: str = "light",
        width: int = 1440,
        height: int = 900,
        **options: object,
    ) -> ChatPage:
        base: str = url or request.getfixturevalue("service").url
        context = browser.new_context(
            locale="uk-UA" if lang == "uk" else "en-GB",
            color_scheme=theme,  # type: ignore[arg-type]
            viewport={"width": width, "height": height},
            **options,  # type: ignore[arg-type]
        )
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        watch(page, base, faults)
        return ChatPage(page, base)

    yield open_
    for context in contexts:
        context.close()
    assert faults == []


def watch(page: Page, base: str, faults: list[str]) -> None:
    def on_console(message: ConsoleMessage) -> None:
        # A browser reports every failed request by itself; those are what some tests are about.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            faults.append(f"{message.type}: {message.text}")

    def on_request(url: str) -> None:
        if not url.startswith((base, "data:", "blob:")):
            faults.append(f"request to {url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: faults.append(f"{error.message}\n{error.stack}"))
    page.on("request", lambda request: on_request(request.url))
