"""A conversation's time to the first token, turn by turn, in decode steps: what a follow-up message costs.

    python -m bench.turns [--dtype float32] [--turns 12] [--rounds 3]

The real service over HTTP with a random model of GPT-2 124M's shapes, two threads as it comes. A turn is a message of
some 22 tokens and a reply of 20, so that before turn 10 there are about 400 tokens of history. A decode step is the
median time between two tokens of the same reply.
"""

import argparse
import json
import socket
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.e2e.service import Service
from tests.e2e.starter import starter_tokenizer

from bench.figures import Figure, print_table
from bench.random_model import write_random_gpt2

MESSAGE = "What do you think about turn {} of our talk, and about the weather in the old town today?"
NUM_REPLY_TOKENS = 20
WORD = (
    " the"  # the replies say nothing else: as with a trained model, their text is encoded to the tokens it was made of
)
MOST_STEPS = 3.0  # to the first token of turn 10


@dataclass(frozen=True, slots=True)
class Turn:
    ttft_s: float
    step_s: float
    num_prompt_tokens: int
    num_cached_tokens: int

    @property
    def num_steps(self) -> float:
        return self.ttft_s / self.step_s


def measure(dtype: str = "float32", num_turns: int = 12, num_rounds: int = 3) -> list[Figure]:
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        model = write_random_gpt2(Path(folder) / "model")
        flags = ("--model", str(model), "--dtype", dtype, "--speculation", "off", "--log-level", "warning")
        with Service(Path(folder) / "data", *flags) as service:
            service.wait_until_ready()
            _talk(service, 2)
            rounds = [_talk(service, num_turns) for _ in range(num_rounds)]
            service.terminate()
    figures = []
    for i in range(num_turns):
        turns = [turns[i] for turns in rounds]
        of = f"turn {i + 1}: prompt of {turns[0].num_prompt_tokens}, {turns[0].num_cached_tokens} cached"
        target = MOST_STEPS if i + 1 == 10 else None
        figures.append(Figure(f"{of}: to the first token", "steps", tuple(turn.num_steps for turn in turns), target))
    steps = tuple(1000 * turn.step_s for turns in rounds for turn in turns)
    return [*figures, Figure("a decode step", "ms", steps)]


def _talk(service: Service, num_turns: int) -> list[Turn]:
    conversation = service.new_conversation()
    return [_turn(service.port, conversation, MESSAGE.format(i + 1)) for i in range(num_turns)]


def _turn(port: int, conversation_id: str, content: str) -> Turn:
    settings = {
        "max_new_tokens": NUM_REPLY_TOKENS,
        "min_new_tokens": NUM_REPLY_TOKENS,
        "repetition_penalty": 1.0,
        "logit_bias": {str(starter_tokenizer().encode(WORD)[0]): 100},
    }
    body = json.dumps({"content": content, "settings": settings, "stream": True}).encode()
    head = (
        f"POST /api/conversations/{conversation_id}/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    received, tokens = b"", []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        sent = time.perf_counter()
        connection.sendall(head + body)
        while chunk := connection.recv(65536):
            now = time.perf_counter()
            received += chunk
            tokens += [now] * (received.count(b"event: token\n") - len(tokens))
    text = received.decode()
    if "event: done" not in text or len(tokens) < NUM_REPLY_TOKENS - 2:
        raise RuntimeError(f"{len(tokens)} tokens and no proper end:\n{text[:2000]}")
    usage = json.loads(text.split("event: done")[1].split("data: ", 1)[1].split("\n", 1)[0])["usage"]
    gaps = [after - before for before, after in pairwise(tokens)]
    return Turn(tokens[0] - sent, statistics.median(gaps), usage["prompt_tokens"], usage["cached_tokens"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to the first token by turn.")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print_table("A conversation, GPT-2 124M", measure(options.dtype, options.turns, options.rounds))


if __name__ == "__main__":
    main()
