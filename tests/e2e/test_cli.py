"""`gpt2svc generate` and `gpt2svc chat` as a user runs them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.service import Service, clean_environment
from tests.e2e.starter import only


def gpt2svc(*arguments: str, cwd: Path, standard_input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "gpt2svc", *arguments],
        input=standard_input,
        env=clean_environment(),
        cwd=cwd,
        capture_output=True,
        timeout=90,
        check=False,
    )


def test_generate_prints_only_the_continuation_and_the_seed_repeats_it(tmp_path: Path) -> None:
    flags = ("--seed", "7", "--max-new-tokens", "20")
    by_argument = gpt2svc("generate", "The weather in Kyiv", *flags, cwd=tmp_path)
    assert by_argument.returncode == 0, by_argument.stderr.decode()
    by_stdin = gpt2svc("generate", *flags, cwd=tmp_path, standard_input=b"The weather in Kyiv\n")
    streamed = gpt2svc("generate", "The weather in Kyiv", "--stream", *flags, cwd=tmp_path)
    assert by_argument.stdout.strip()
    assert by_argument.stdout == by_stdin.stdout == streamed.stdout
    assert b"The weather" not in by_argument.stdout


def test_generate_json_is_one_document_with_all_replies(tmp_path: Path) -> None:
    flags = ("--json", "-n", "3", "--seed", "5", "--max-new-tokens", "12", "--logprobs", "2", "--chat")
    done = gpt2svc("generate", "Привіт!", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    result = json.loads(done.stdout)
    assert [reply["seed"] for reply in result["replies"]] == [5, 6, 7]
    assert result["settings"]["max_new_tokens"] == 12
    for reply in result["replies"]:
        assert reply["text"] == "".join(token["text"] for token in reply["tokens"])
        assert all(len(token["top_logprobs"]) == 2 and token["logprob"] <= 0 for token in reply["tokens"])
    # Each of them alone is the same as among the others.
    alone = gpt2svc("generate", "Привіт!", "--json", "--seed", "6", "--max-new-tokens", "12", "--chat", cwd=tmp_path)
    assert json.loads(alone.stdout)["replies"][0]["text"] == result["replies"][1]["text"]


def test_generate_with_beams_gives_the_best_of_one_search_with_their_scores(tmp_path: Path) -> None:
    flags = (
        "--num-beams",
        "3",
        "--num-return-sequences",
        "2",
        "--max-new-tokens",
        "16",
        "--chat",
        "--trim-to-sentence",
    )
    done = gpt2svc("generate", "Hello! How are you?", "--json", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    result = json.loads(done.stdout)
    first, second = result["replies"]
    assert first["score"] >= second["score"]
    assert first["text"] != second["text"]
    assert result["settings"]["num_beams"] == 3
    streamed = gpt2svc("generate", "Hello! How are you?", "--stream", *flags, cwd=tmp_path)
    assert streamed.stdout.decode() == f"{first['text']}\n{second['text']}\n"


def test_generate_stream_json_is_one_object_a_line(tmp_path: Path) -> None:
    done = gpt2svc("generate", "Hello", "--json", "--stream", "--max-new-tokens", "6", cwd=tmp_path)
    *tokens, ending = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
    assert all({"index", "token_id", "text"} == token.keys() for token in tokens)
    assert ending["finish_reason"] in ("stop", "length")


def test_a_stop_string_ends_the_text_and_is_not_part_of_it(tmp_path: Path) -> None:
    flags = ("--seed", "1", "--max-new-tokens", "60", "--stop", "e", "--json")
    [reply] = json.loads(gpt2svc("generate", "Once upon a time", *flags, cwd=tmp_path).stdout)["replies"]
    assert reply["finish_reason"] == "stop"
    assert "e" not in reply["text"]


@pytest.mark.parametrize(
    ("arguments", "standard_input", "words"),
    [
        (("generate", " "), b"", "prompt is empty"),
        (("generate",), b"", "prompt is empty"),
        (("generate",), b"\xff\xfe", "not UTF-8"),
        (("generate", "hi", "--temperature", "nan"), b"", "--temperature"),
        (("generate", "hi", "--model", "./nowhere"), b"", "nowhere"),
        (("generate", "hi", "--model", "someone/something"), b"", "models pull someone/something"),
        (("generate", "word " * 2000), b"", "in the model's window of 1024"),
        (("generate", "hi", "--device", "toaster"), b"", "device"),
        (("chat", "--url", "ftp://nowhere"), b"", "http"),
        (("chat", "--url", "http://127.0.0.1:9"), b"", "running"),
    ],
)
def test_what_cannot_work_says_why_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], standard_input: bytes, words: str
) -> None:
    done = gpt2svc(*arguments, cwd=tmp_path, standard_input=standard_input)
    assert done.stdout == b""
    assert "Traceback" not in done.stderr.decode()
    assert done.returncode == (1 if "running" in words else 2)
    assert words in done.stderr.decode()


def test_chat_with_a_service_keeps_the_conversation_there(shared_service: Service, tmp_path: Path) -> None:
    before = {c["id"] for c in shared_service.client.get("/api/conversations").json()["data"]}
    lines = "/seed 3\nПривіт! Хто ти?\n/set max_new_tokens 5\nThank you!\n"
    done = gpt2svc("chat", "--url", shared_service.url, cwd=tmp_path, standard_input=lines.encode())
    assert done.returncode == 0, done.stderr.decode()
    after = shared_service.client.get("/api/conversations").json()["data"]
    [conversation_id] = [c["id"] for c in after if c["id"] not in before]
    messages = shared_service.messages(conversation_id)
    assert [message["content"] for message in messages[::2]] == ["Привіт! Хто ти?", "Thank you!"]
    assert done.stdout.decode() == "".join(f"{message['content']}\n" for message in messages[1::2])
    assert messages[1]["settings"]["seed"] == 3
    # Without a service the same seed gives the same first reply.
    local = gpt2svc("chat", "--seed", "3", cwd=tmp_path, standard_input="Привіт! Хто ти?\n".encode())
    assert local.stdout.decode() == f"{messages[1]['content']}\n"


@pytest.mark.parametrize("has_service", [False, True])
def test_ctrl_c_stops_the_reply_and_the_talk_goes_on(
    shared_service: Service, tmp_path: Path, *, has_service: bool
) -> None:
    settings = only("абвabc", 900)
    biases = [part for i, v in settings.pop("logit_bias").items() for part in ("--logit-bias", f"{i}={v}")]
    flags = [part for name, v in settings.items() for part in (f"--{name.replace('_', '-')}", str(v))]
    where = ["--url", shared_service.url] if has_service else []
    for _ in range(5):  # on a busy machine the reply may be over before the signal comes
        code, out, err = _interrupted_talk([*where, *flags, *biases], tmp_path)
        if "[stopped]" in err:
            break
    assert code == 0, err
    assert "[stopped]" in err
    assert "Error" not in err
    story, answer = out.rstrip("\n").rsplit("\n", 1)
    assert story
    assert answer


def _interrupted_talk(arguments: list[str], folder: Path) -> tuple[int, str, str]:
    """Exit code, standard output and error of a talk whose first reply is interrupted at its first byte."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gpt2svc", "chat", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        cwd=folder,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"Tell me a long story.\n")
        process.stdin.flush()
        first = os.read(process.stdout.fileno(), 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(b"/set min_new_tokens 5\n/set max_new_tokens 5\nAnd now?\n", timeout=60)
    finally:
        process.kill()
        process.wait()
    return process.returncode, (first + out).decode(), err.decode()
