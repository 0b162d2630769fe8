"""Many POSTs at once from one small process: `python bench/burst.py PORT PATH COUNT keep-alive|new [SECONDS]`.

With SECONDS they are spread evenly over so long instead.

Bare sockets and epoll: an HTTP library would need more processor time than the service under test, on the same cores.
Prints one JSON object: `statuses` with counts, `latencies_ms` (from the sending of each request, or the beginning of
its connection, to the head of its answer), and `heads`, the first answer's head.
"""

import json
import select
import socket
import sys
import time
from collections import Counter

BODY = b'{"content": "Hello!", "stream": true}'
BATCH = 16  # answers are looked for after so many sends


def main() -> None:
    port, path, count, mode = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    interval_s = float(sys.argv[5]) / count if len(sys.argv) > 5 else 0.0
    is_new = mode == "new"
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY
    sockets = [] if is_new else [_connect(port, is_blocking=True) for _ in range(count)]
    time.sleep(0.0 if is_new else 0.5)  # all connections have been taken
    poll = select.epoll()
    by_number: dict[int, socket.socket] = {}
    sent_at: dict[int, float] = {}
    done_at: dict[int, float] = {}
    answers: dict[int, bytes] = {}

    def look(timeout: float) -> None:
        for number, event in poll.poll(timeout):
            if event & select.EPOLLOUT:  # connected: `is_new` only
                by_number[number].send(request)
                poll.modify(number, select.EPOLLIN)
                continue
            now = time.perf_counter()
            received = by_number[number].recv(65536)
            if number not in done_at:
                done_at[number] = now
                answers[number] = received
            poll.unregister(number)

    begun = time.perf_counter()
    for index in range(count):
        while (start := time.perf_counter()) < begun + index * interval_s:
            look(begun + index * interval_s - start)
        each = _connect(port, is_blocking=False) if is_new else sockets[index]
        number = each.fileno()
        by_number[number], sent_at[number] = each, start
        if is_new:
            poll.register(number, select.EPOLLOUT)
        else:
            each.setblocking(False)
            each.send(request)
            poll.register(number, select.EPOLLIN)
        if index % BATCH == BATCH - 1:
            look(0)
    deadline = time.perf_counter() + 60
    while len(done_at) < count and time.perf_counter() < deadline:
        look(0.05)
    statuses = Counter(answer[9:12].decode("ascii", "replace") for answer in answers.values())
    result = {
        "statuses": statuses,
        "latencies_ms": [round(1000 * (done_at[number] - sent_at[number]), 3) for number in done_at],
        "head": next(iter(answers.values()), b"").partition(b"\r\n\r\n")[0].decode("latin-1"),
    }
    print(json.dumps(result))


def _connect(port: int, *, is_blocking: bool) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(is_blocking)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.connect_ex(("127.0.0.1", port))
    return connection


if __name__ == "__main__":
    main()
