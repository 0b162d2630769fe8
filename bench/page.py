"""How much the page's main thread works while a reply of 5,000 tokens comes at 1,000 a second: `python -m bench.page`.

A task's figure is the processor time that the thread used for it (Chromium's own trace), so that other programs on the
machine don't count; what the browser itself calls long tasks, by the clock, is told beside it. The reply is made in the
browser: no reply of the service is that long.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from tests.web.chat_page import ChatPage
from tests.web.chromium import FLAGS, find_chromium
from tests.web.service import WebService
from tests.web.test_speed import STREAM

from bench.figures import Figure, print_table

NUM_RUNS = 3
LONG_TASK_MS = 50
TASK = "ThreadControllerImpl::RunTask"
OBSERVE = """
() => {
    window.longTasks = 0;
    new PerformanceObserver((list) => (window.longTasks += list.getEntries().length)).observe({ type: "longtask" });
}
"""


def measure(num_runs: int = NUM_RUNS) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, WebService(Path(folder)) as service, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        runs = [_run(browser, service) for _ in range(num_runs)]
        browser.close()
    longest, at_99, total, layout, by_clock = zip(*runs, strict=True)
    return [
        Figure("longest task, processor time", "ms", longest, target=LONG_TASK_MS),
        Figure("99th percentile of tasks", "ms", at_99),
        Figure("all tasks of the main thread", "ms", total),
        Figure("layout among them", "ms", layout),
        Figure("long tasks by the clock, whatever else ran", "", by_clock),
    ]


def _run(browser: Browser, service: WebService) -> tuple[float, ...]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    chat = ChatPage(page, service.url)
    conversation = service.api("POST", "/api/conversations", json={"title": "Fast"})["id"]
    chat.open(f"/#{conversation}")
    page.evaluate(STREAM)
    page.evaluate(OBSERVE)
    events = _traced(page, chat)
    by_clock = float(page.evaluate("window.longTasks"))
    context.close()
    names = {(each["pid"], each["tid"]): each["args"]["name"] for each in events if each["name"] == "thread_name"}
    mains = {thread for thread, name in names.items() if name == "CrRendererMain"}
    main = [each for each in events if (each["pid"], each["tid"]) in mains and "tdur" in each]
    tasks = sorted(each["tdur"] / 1000 for each in main if each["name"] == TASK)
    layout = sum(each["tdur"] / 1000 for each in main if each["name"] == "Layout")
    return tasks[-1], tasks[-1 - len(tasks) // 100], sum(tasks), layout, by_clock


def _traced(page: Page, chat: ChatPage) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    is_over: list[bool] = []
    session = page.context.new_cdp_session(page)
    session.on("Tracing.dataCollected", lambda batch: events.extend(batch["value"]))
    session.on("Tracing.tracingComplete", lambda _: is_over.append(True))
    config = {"includedCategories": ["toplevel", "devtools.timeline"]}
    session.send("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": config})
    chat.say("go")
    page.wait_for_selector("g2-message.assistant .foot", timeout=120_000)
    session.send("Tracing.end")
    while not is_over:
        page.wait_for_timeout(50)
    return events


if __name__ == "__main__":
    num_runs = int(sys.argv[1]) if len(sys.argv) > 1 else NUM_RUNS
    print_table("5,000 tokens at 1,000 a second in Chromium", measure(num_runs))
