"""Signals, elements, the event parser, the tree and the languages: the page's own modules, run in the browser."""

import pytest
from playwright.sync_api import Browser

from tests.web.chat_page import ChatPage
from tests.web.service import WebService


@pytest.fixture(scope="module")
def chat(service: WebService, browser: Browser) -> ChatPage:
    return ChatPage(browser.new_page(), service.url).open()


def test_effects_follow_what_they_read_and_nothing_else(chat: ChatPage) -> None:
    assert chat.js(
        "kernel/signal.js",
        """
        const a = m.signal(1), b = m.signal(10), useB = m.signal(false), seen = [];
        const sum = m.computed(() => (useB() ? a() + b() : a()));
        const stop = m.effect(() => seen.push(sum()));
        b.set(20); a.set(2); useB.set(true); b.set(30);
        m.batch(() => { a.set(3); b.set(40); });
        a.set(3); stop(); a.set(100);
        return seen;
        """,
    ) == [1, 2, 22, 32, 43]


def test_a_computed_that_stays_equal_wakes_nobody(chat: ChatPage) -> None:
    assert (
        chat.js(
            "kernel/signal.js",
            """
        const n = m.signal(1); let runs = 0;
        const isEven = m.computed(() => n() % 2 === 0);
        m.effect(() => { isEven(); runs += 1; });
        n.set(3); n.set(5); n.set(6);
        return runs;
        """,
        )
        == 2
    )


def test_inner_effects_end_with_their_outer_one(chat: ChatPage) -> None:
    assert chat.js(
        "kernel/signal.js",
        """
        const outer = m.signal(0), inner = m.signal(0), log = [];
        const end = m.root(() => m.effect(() => {
            const name = outer();
            m.effect(() => log.push(`${name}:${inner()}`));
            m.onDispose(() => log.push(`end ${name}`));
        }));
        inner.set(1); outer.set(1); inner.set(2); end(); inner.set(3);
        return log;
        """,
    ) == ["0:0", "0:1", "end 0", "1:1", "1:2", "end 1"]


def test_keyed_lists_keep_their_elements(chat: ChatPage) -> None:
    result = chat.js(
        "kernel/dom.js",
        """
        const main = document.querySelector('script[type=module]').src;
        const { signal, root } = await import(main.replace('main.js', 'kernel/signal.js'));
        const items = signal(["a", "b", "c"]), host = document.createElement("div"); let made = 0;
        root(() => m.list(items, (i) => i, (i) => { made += 1; return m.h("p", null, i); })(host));
        const b = host.children[1];
        items.set(["c", "b", "d"]);
        return { text: host.textContent, kept: host.children[1] === b, made };
        """,
    )
    assert result == {"text": "cbd", "kept": True, "made": 4}


def test_text_is_never_markup(chat: ChatPage) -> None:
    assert chat.js("kernel/dom.js", "return m.h('p', null, '<img src=x onerror=alert(1)>').children.length") == 0


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
def test_events_are_the_same_however_the_bytes_are_cut(chat: ChatPage, size: int) -> None:
    stream = 'id: 1\nevent: token\ndata: {"t":"a\u2028b"}\n\n: ping\n\nid: 2\r\ndata: x\r\ndata: y\r\n\r\ndata: cut'
    events = chat.js(
        "lib/sse.js",
        """
        const bytes = new TextEncoder().encode(argument.stream), all = [];
        const decoder = new TextDecoder(), parser = new m.SseParser();
        for (let i = 0; i < bytes.length; i += argument.size) {
            all.push(...parser.push(decoder.decode(bytes.slice(i, i + argument.size), { stream: true })));
        }
        return all;
        """,
        {"stream": stream, "size": size},
    )
    assert events == [
        {"event": "token", "id": "1", "data": '{"t":"a\u2028b"}'},
        {"event": "message", "id": "2", "data": "x\ny"},
    ]


def test_a_reply_takes_each_token_once_and_notices_a_gap(chat: ChatPage) -> None:
    assert chat.js(
        "store/reply.js",
        """
        const reply = new m.Reply(); let gap = null;
        const token = (seq, text) => reply.take({ event: "token", seq, data: { text } });
        token(1, "a"); token(2, "b"); token(2, "b"); token(1, "a"); token(3, "c");
        try { token(5, "e"); } catch (error) { gap = error.code; }
        return [reply.text, reply.seq, gap];
        """,
    ) == ["abc", 3, "gap"]


def test_branches_show_the_chosen_sibling_else_the_newest(chat: ChatPage) -> None:
    assert chat.js(
        "lib/tree.js",
        """
        const pairs = [["u1", null], ["a1", "u1"], ["a2", "u1"], ["u2", "a1"], ["lost", "gone"]];
        const tree = pairs.map(([id, parent_id]) => ({ id, parent_id }));
        const ids = (chosen) => m.shownPath(tree, chosen).map((each) => each.message.id);
        return [ids({}), ids({ "": "u1" }), ids({ "": "u1", u1: "a1" }), ids({ "": "nobody" })];
        """,
    ) == [["lost"], ["u1", "a2"], ["u1", "a1", "u2"], ["lost"]]


def test_ukrainian_has_its_four_forms(chat: ChatPage) -> None:
    assert chat.js(
        "i18n/language.js",
        """
        const language = new m.Language({ get: () => null, set() {} }, ["uk-UA"]);
        return [1, 2, 5, 11, 21, 104, 1.5].map((count) => language.text("tokens", { count }));
        """,
    ) == ["1 токен", "2 токени", "5 токенів", "11 токенів", "21 токен", "104 токени", "1,5 токена"]
