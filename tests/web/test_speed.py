"""5,000 tokens at 1,000 a second: the page stays at ease. The stream is made in the browser, as none is that long."""

from tests.web.conftest import OpenPage
from tests.web.service import WebService

MAX_TASK_MS = 50

STREAM = """
() => {
    const encoder = new TextEncoder();
    const real = window.fetch;
    window.fetch = async (url, options) => {
        if (options?.method !== 'POST' || !String(url).endsWith('/messages')) return real(url, options);
        const conversation = String(url).split('/')[2];
        const frame = (event, data, id) =>
            `${id ? `id: ${id}\\n` : ''}event: ${event}\\ndata: ${JSON.stringify(data)}\\n\\n`;
        const ids = { generation_id: 'gen_1', message_id: 'msg_2', user_message_id: 'msg_1' };
        const queued = { ...ids, conversation_id: conversation, position: 0 };
        const started = { model: 'tiny', prompt_tokens: 5, seed: 1, dropped_message_ids: [], settings: {} };
        const begin = performance.now();
        let seq = 0;
        const body = new ReadableStream({
            start(controller) {
                const push = (text) => controller.enqueue(encoder.encode(text));
                push(frame('queued', queued) + frame('started', started));
                const timer = setInterval(() => {
                    let text = '';
                    while (seq < 5000 && seq < performance.now() - begin) {
                        seq += 1;
                        const word = seq % 12 === 0 ? '.\\n' : ` слово${seq % 7}`;
                        text += frame('token', { text: word, token_id: 1 }, seq);
                    }
                    if (text) push(text);
                    if (seq < 5000) return;
                    clearInterval(timer);
                    const usage = { prompt_tokens: 5, completion_tokens: 5000, total_tokens: 5005, cached_tokens: 0 };
                    const timings = { tokens_per_second: 1000 };
                    push(frame('done', { status: 'completed', finish_reason: 'stop', usage, timings }, 5001));
                    controller.close();
                }, 4);
            },
        });
        return new Response(body, { status: 200, headers: { 'Content-Type': 'text/event-stream' } });
    };
}
"""


def test_five_thousand_tokens_at_a_thousand_a_second(service: WebService, open_page: OpenPage) -> None:
    chat = open_page()
    conversation = service.api("POST", "/api/conversations", json={"title": "Fast"})["id"]
    chat.open(f"/#{conversation}")
    chat.page.evaluate(STREAM)
    # Time of the page's own thread: what other programs on a busy machine take is not counted.
    inspector = chat.page.context.new_cdp_session(chat.page)
    inspector.send("Performance.enable", {"timeDomain": "threadTicks"})

    def measure() -> dict[str, float]:
        return {each["name"]: each["value"] for each in inspector.send("Performance.getMetrics")["metrics"]}

    chat.say("go")
    chat.page.wait_for_function("() => document.querySelector('.is-live .text')?.textContent.length > 2000")
    nodes = "document.querySelectorAll('g2-message.assistant *').length"
    early = chat.page.evaluate(nodes)
    chat.page.wait_for_function("() => document.querySelector('.is-live .text')?.textContent.length > 25000")
    before = measure()
    assert chat.page.evaluate(nodes) == early
    assert chat.page.evaluate("document.querySelector('g2-message.assistant .text').childNodes.length") == 1
    chat.page.wait_for_function("() => document.querySelector('.is-live .text')?.textContent.length > 30000")
    after = measure()
    spent = {name: after[name] - before[name] for name in after}
    frame_ms = 1000 * spent["TaskDuration"] / max(1.0, spent["LayoutCount"])  # of the longest texts
    assert frame_ms < MAX_TASK_MS
    chat.page.wait_for_function(
        "lines => document.querySelector('g2-message.assistant .text')?.textContent.split('\\n').length > lines",
        arg=5000 // 12,
    )
