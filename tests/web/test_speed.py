"""5,000 tokens at 1,000 a second stay one text node. Made in the browser: no reply of the service is that long."""

from tests.web.conftest import OpenPage
from tests.web.service import WebService

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


# Looked at between frames for as long as the reply grows; the first 2,000 characters may still bring its parts.
WATCH = """
() => {
    window.seen = { nodes: new Set(), texts: new Set() };
    const look = () => {
        const text = document.querySelector('.is-live .text');
        if (text?.textContent.length > 2000) {
            window.seen.nodes.add(document.querySelectorAll('g2-message.assistant *').length);
            window.seen.texts.add(text.childNodes.length);
        }
        requestAnimationFrame(look);
    };
    look();
}
"""


def test_five_thousand_tokens_at_a_thousand_a_second(service: WebService, open_page: OpenPage) -> None:
    chat = open_page()
    conversation = service.api("POST", "/api/conversations", json={"title": "Fast"})["id"]
    chat.open(f"/#{conversation}")
    chat.page.evaluate(STREAM)
    chat.page.evaluate(WATCH)
    chat.say("go")
    chat.page.wait_for_function(
        "lines => document.querySelector('g2-message.assistant .text')?.textContent.split('\\n').length > lines",
        arg=5000 // 12,
    )
    assert len(chat.page.evaluate("[...window.seen.nodes]")) == 1
    assert chat.page.evaluate("[...window.seen.texts]") == [1]
