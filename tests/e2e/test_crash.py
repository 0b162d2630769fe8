"""What is left after something was killed."""

import os
import signal
from pathlib import Path

import pytest
from openai import OpenAI

from tests.e2e.service import Service, wait_until
from tests.e2e.sse import parse_events, text_of
from tests.e2e.starter import endless


def start_reply(service: Service, conversation_id: str) -> str:
    """Begin a long reply, leave its stream, and wait until some of it is stored. Returns the generation's id."""
    path = f"/api/conversations/{conversation_id}/messages"
    body = {"content": "Привіт! Tell me a story.", "settings": endless(), "stream": True}
    with service.client.stream("POST", path, json=body) as response:
        generation_id = str(parse_events(next(response.iter_raw()))[0].data["generation_id"])

    def is_stored() -> bool:
        generation = service.client.get(f"/api/generations/{generation_id}").json()
        assert generation["status"] in ("queued", "generating"), generation
        return bool(generation["num_tokens"] > 0)

    wait_until(is_stored, lambda: service.log)
    return generation_id


def test_kill_9_of_the_server_keeps_the_message_and_marks_the_reply_interrupted(data_dir: Path) -> None:
    with Service(data_dir) as service:
        service.wait_until_ready()
        conversation_id = service.new_conversation()
        generation_id = start_reply(service, conversation_id)
        num_stored = service.client.get(f"/api/generations/{generation_id}").json()["num_tokens"]
        [worker_pid] = service.worker_pids()
        service.kill()
        wait_until(lambda: not is_running(worker_pid), lambda: "the worker outlived its server")
    with Service(data_dir) as service:
        service.wait_for("/livez")
        user, reply = service.messages(conversation_id)
        assert user["content"] == "Привіт! Tell me a story."
        assert reply["status"] == "interrupted"
        events = parse_events(service.client.get(f"/api/generations/{generation_id}/events").content)
        assert events[-1].name == "error"
        assert events[-1].data["status"] == "interrupted"
        assert text_of(events) == reply["content"]
        assert events[-1].data["num_tokens"] >= num_stored
        # A viewer that saw more than was kept is told how it ended all the same.
        path = f"/api/generations/{generation_id}/events"
        late = parse_events(service.client.get(path, headers={"Last-Event-ID": "790"}).content)
        assert [event.name for event in late] == ["error"]
        # The conversation goes on.
        service.wait_until_ready()
        path = f"/api/conversations/{conversation_id}/messages"
        answer = service.client.post(path, json={"content": "Are you there?", "settings": {"max_new_tokens": 5}})
        assert answer.json()["status"] == "completed"


def test_kill_9_of_the_server_leaves_a_response_that_says_so_and_can_be_read_on(data_dir: Path) -> None:
    settings = endless()
    length = settings.pop("max_new_tokens")
    with Service(data_dir) as service, OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as sdk:
        service.wait_until_ready()
        done = sdk.responses.create(model="starter", input="Hello!", max_output_tokens=8)
        stream = sdk.responses.create(
            model="starter", input="Hi", background=True, stream=True, max_output_tokens=length, extra_body=settings
        )
        seen = []
        for event in stream:
            seen.append(event)
            if len(seen) > 30:
                break
        stream.close()
        identifier = seen[0].response.id
        begun = "".join(event.delta for event in seen if event.type == "response.output_text.delta")
        wait_until(lambda: len(sdk.responses.retrieve(identifier).output_text) > len(begun), lambda: service.log)
        service.kill()
    with Service(data_dir) as service, OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as sdk:
        service.wait_for("/livez")
        assert sdk.responses.retrieve(done.id) == done
        ended = sdk.responses.retrieve(identifier)
        assert (ended.status, ended.error and str(ended.error.code)) == ("failed", "interrupted")
        last = seen[-1].sequence_number
        rest = list(sdk.responses.retrieve(identifier, stream=True, starting_after=last))
        assert [event.sequence_number for event in rest] == list(range(last + 1, last + 1 + len(rest)))
        texts = [event.delta for event in rest if event.type == "response.output_text.delta"]
        assert begun + "".join(texts) == ended.output_text
        assert rest[-1].type == "response.failed"


def test_kill_9_of_the_worker_leaves_the_api_up_and_the_next_message_works(data_dir: Path) -> None:
    with Service(data_dir) as service:
        service.wait_until_ready()
        conversation_id = service.new_conversation()
        generation_id = start_reply(service, conversation_id)
        [worker_pid] = service.worker_pids()
        os.kill(worker_pid, signal.SIGKILL)
        path = f"/api/generations/{generation_id}/events"
        events = parse_events(service.client.get(path).content)
        assert events[-1].name == "error"
        assert events[-1].data["status"] == "interrupted"
        assert service.client.get("/livez").status_code == 200
        assert service.messages(conversation_id)[1]["content"] == text_of(events)
        answer = service.client.post(
            f"/api/conversations/{conversation_id}/messages",
            json={"content": "Are you there?", "settings": {"max_new_tokens": 5}},
        )
        assert answer.status_code in (200, 201), answer.text
        assert answer.json()["status"] == "completed"
        assert service.worker_pids() != [worker_pid]


def test_sigterm_in_mid_reply_ends_the_stream_honestly_and_exits_with_0(data_dir: Path) -> None:
    with Service(data_dir, environment={"GPT2SVC_DRAIN_S": "0"}) as service:
        service.wait_until_ready()
        conversation_id = service.new_conversation()
        generation_id = start_reply(service, conversation_id)
        received = b""
        with service.client.stream("GET", f"/api/generations/{generation_id}/events") as response:
            for index, chunk in enumerate(response.iter_raw()):
                received += chunk
                if index == 0:
                    service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=60) == 0, service.log
        events = parse_events(received)
        assert events[-1].name == "error"
        assert events[-1].data["status"] == "interrupted"
    with Service(data_dir) as service:
        service.wait_for("/livez")
        assert service.messages(conversation_id)[1]["content"] == text_of(events)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_service_exits_with_0(data_dir: Path, number: signal.Signals) -> None:
    with Service(data_dir) as service:
        service.wait_until_ready()
        [worker_pid] = service.worker_pids()
        service.process.send_signal(number)
        assert service.process.wait(timeout=60) == 0, service.log
        assert not is_running(worker_pid)
        assert "Traceback" not in service.log


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
