"""WorkerClient against real processes; nothing here depends on how fast the machine is."""

import asyncio
import os
import signal
from contextlib import aclosing
from pathlib import Path

import pytest

from gpt2svc.engine.types import EngineRequest, TokenOutput
from gpt2svc.errors import UnavailableError, WorkerCrashedError
from gpt2svc.worker.client import WorkerClient
from gpt2svc.worker.policy import RestartPolicy
from tests.fakes.hub_server import COMMIT, HubServer
from tests.worker.conftest import QUICK, is_alive, until
from tests.worker.messages import request


async def collect(client: WorkerClient, wanted: EngineRequest) -> tuple[tuple[int, ...], str | None]:
    outputs = [output async for output in client.submit(wanted)]
    assert all(output.finish_reason is None for output in outputs[:-1])
    return tuple(i for output in outputs for i in output.token_ids), outputs[-1].finish_reason


async def test_a_request_gets_its_tokens_and_one_finish_reason(open_client) -> None:
    async with open_client() as client:
        assert await collect(client, request(max_new_tokens=5)) == ((1, 2, 3, 1, 2), "length")
        assert client.state.status == "ready"
        assert client.state.info is not None
        assert client.num_requests == 0


async def test_requests_are_accepted_while_the_model_still_loads(open_client) -> None:
    async with open_client("--load-s", "0.3") as client:
        assert client.state.status == "starting"
        assert await collect(client, request()) == ((1, 2, 3), "length")


async def test_free_slots_are_known_before_the_first_request(open_client) -> None:
    async with open_client("--num-slots", "5") as client:
        await until(lambda: client.state.status == "ready")
        assert (client.state.stats.num_slots, client.state.stats.num_free_slots) == (5, 5)


async def test_loading_is_visible_with_stage_and_percent(open_client) -> None:
    async with open_client("--load-s", "1") as client:
        await until(lambda: client.state.status == "loading" and (client.state.percent or 0) > 0)
        assert client.state.stage == "Reading weights"
        assert client.state.info is None


async def test_tokenizer_window_and_revision_are_known_before_the_model_is_ready(open_client) -> None:
    async with open_client("--fail", "hang") as client:
        with pytest.raises(UnavailableError, match="not ready yet"):
            _ = client.tokenizer
        await until(lambda: has_tokenizer(client))
        assert client.tokenizer.decode(client.tokenizer.encode("hello")) == "hello"
        assert client.n_positions == 64
        assert len(client.revision) == 12
        assert client.state.status in ("starting", "loading")


async def test_32_requests_at_once_are_interleaved_and_each_gets_its_own(open_client) -> None:
    async with open_client() as client:
        prompts = [(i, i + 1, i + 2) for i in range(32)]
        results = await asyncio.gather(
            *(collect(client, request(str(i), prompt=prompt, max_new_tokens=9)) for i, prompt in enumerate(prompts))
        )
        assert results == [(prompt * 3, "length") for prompt in prompts]
        # 288 tokens, one a request and step: far fewer steps than one after the other would have taken.
        assert client.state.stats.num_generated_tokens == 288
        assert client.state.stats.num_steps < 100


async def test_a_request_that_the_engine_refuses_ends_with_an_error_and_the_others_go_on(open_client) -> None:
    async with open_client() as client:
        outputs = [output async for output in client.submit(request("long", prompt=(1,) * 65))]
        assert outputs == [TokenOutput("long", finish_reason="error", error="The prompt is too long.")]
        assert await collect(client, request()) == ((1, 2, 3), "length")


async def test_an_aborted_running_request_ends_with_abort(open_client) -> None:
    async with open_client("--step-s", "0.002") as client:
        async with aclosing(client.submit(request(max_new_tokens=1000))) as outputs:
            first = await anext(outputs)
            assert first.finish_reason is None
            client.abort("a")
            rest = [output async for output in outputs]
        assert rest[-1].finish_reason == "abort"
        await until(lambda: client.state.stats.num_running == 0)


async def test_a_request_that_waits_in_the_engine_can_be_aborted(open_client) -> None:
    async with (
        open_client("--step-s", "0.002", "--num-slots", "1") as client,
        aclosing(client.submit(request("a", max_new_tokens=1000))) as running,
    ):
        await anext(running)
        queued = asyncio.create_task(collect(client, request("b")))
        await until(lambda: client.state.stats.num_waiting == 1)
        client.abort("b")
        assert await queued == ((), "abort")
        assert (await anext(running)).finish_reason is None


async def test_a_request_that_waits_for_the_worker_can_be_aborted(open_client) -> None:
    async with open_client("--fail", "hang") as client:
        waiting = asyncio.create_task(collect(client, request()))
        await until(lambda: client.num_requests == 1)
        client.abort("a")
        assert await waiting == ((), "abort")
        client.abort("unknown")


async def test_200_readers_that_leave_early_leave_no_request_and_no_task(open_client) -> None:
    async def leave_early(i: int) -> None:
        async with aclosing(client.submit(request(str(i), max_new_tokens=100_000))) as outputs:
            await anext(outputs)
            if i % 2:
                await asyncio.sleep(3600)  # left by cancellation instead

    async with open_client("--step-s", "0.002", "--num-slots", "200") as client:
        await collect(client, request())
        tasks_before = asyncio.all_tasks()
        readers = [asyncio.create_task(leave_early(i)) for i in range(200)]
        await until(lambda: sum(reader.done() for reader in readers) == 100)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        assert client.num_requests == 0
        await until(lambda: client.state.stats.num_running + client.state.stats.num_waiting == 0)
        assert asyncio.all_tasks() == tasks_before
        assert await collect(client, request("next")) == ((1, 2, 3), "length")


async def test_kill_9_of_the_worker_ends_its_requests_and_the_next_one_works(open_client) -> None:
    async with open_client("--step-s", "0.002") as client:
        async with aclosing(client.submit(request(max_new_tokens=100_000))) as outputs:
            await anext(outputs)
            assert client.pid is not None
            os.kill(client.pid, signal.SIGKILL)
            with pytest.raises(WorkerCrashedError, match="SIGKILL"):
                async for _ in outputs:
                    pass
        assert client.state.status in ("restarting", "ready")
        assert await collect(client, request()) == ((1, 2, 3), "length")
        assert client.state.status == "ready"
        assert client.state.num_restarts == 1


@pytest.mark.parametrize("owner", ["crash", "raise"])
async def test_a_request_that_kills_the_worker_is_not_tried_again(open_client, owner: str) -> None:
    async with open_client() as client:
        with pytest.raises(WorkerCrashedError):
            await collect(client, request("poison", owner=owner))
        assert await collect(client, request()) == ((1, 2, 3), "length")
        assert client.state.num_restarts == 1


async def test_a_crash_while_loading_keeps_the_waiting_requests(open_client, tmp_path: Path) -> None:
    async with open_client("--fail", "crash", "--fail-once", str(tmp_path / "crashed")) as client:
        assert await collect(client, request()) == ((1, 2, 3), "length")
        assert client.state.num_restarts == 1


async def test_crashes_in_a_row_while_loading_end_as_failed_and_are_tried_again_later(open_client) -> None:
    async with open_client("--fail", "crash") as client:
        with pytest.raises(UnavailableError, match="SIGSEGV while it loaded the model") as raised:
            await collect(client, request())
        assert raised.value.retry_after_s == QUICK.retry_s
        assert client.state.num_restarts >= QUICK.max_load_crashes - 1
        await until(lambda: client.state.num_restarts >= QUICK.max_load_crashes)


async def test_a_model_that_cannot_be_loaded_is_failed_and_not_tried_again(open_client) -> None:
    async with open_client("--fail", "format") as client:
        with pytest.raises(UnavailableError, match="truncated") as raised:
            await collect(client, request())
        assert raised.value.retry_after_s is None
        assert client.state.status == "failed"
        assert client.state.error == "model.safetensors is truncated."
        assert client.is_over
        await asyncio.sleep(3 * QUICK.retry_s)
        assert (client.state.status, client.state.num_restarts, client.pid) == ("failed", 0, None)
        with pytest.raises(UnavailableError, match="truncated"):
            await collect(client, request())


async def test_an_unreachable_hub_is_tried_again_later(open_client, tmp_path: Path) -> None:
    async with open_client("--fail", "download", "--fail-once", str(tmp_path / "failed")) as client:
        with pytest.raises(UnavailableError, match="hub can't be reached") as raised:
            await collect(client, request())
        assert raised.value.retry_after_s == QUICK.retry_s
        await until(lambda: client.state.status == "ready")
        assert client.state.error is None


async def test_a_model_of_the_hub_is_downloaded_and_its_tokenizer_is_known_then(
    open_client, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with HubServer().running() as hub:
        hub.add("tests/model", model_folder)
        async with open_client(model="tests/model", hub_endpoint=hub.url) as client:
            with pytest.raises(UnavailableError, match="not ready yet"):
                _ = client.tokenizer
            assert await collect(client, request()) == ((1, 2, 3), "length")
            await until(lambda: has_tokenizer(client))
            assert client.revision == COMMIT


async def test_a_model_that_the_hub_has_not_got_is_failed_with_its_reason(
    open_client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with HubServer().running() as hub:
        async with open_client(model="tests/unknown", hub_endpoint=hub.url) as client:
            await until(lambda: client.state.status == "failed")
            assert "no such model" in (client.state.error or "")


async def test_an_unexpected_error_while_loading_is_tried_again_and_named(open_client) -> None:
    async with open_client("--fail", "unexpected") as client:
        with pytest.raises(UnavailableError, match="RuntimeError: out of memory"):
            await collect(client, request())
        assert client.state.num_restarts >= QUICK.max_load_crashes - 1


async def test_a_folder_without_tokenizer_is_failed_whatever_the_worker_says(open_client, tmp_path: Path) -> None:
    async with open_client(model=str(tmp_path / "missing")) as client:
        with pytest.raises(UnavailableError, match="not a folder"):
            await collect(client, request())
        await until(lambda: client.is_over and client.pid is None)


async def test_a_hung_worker_is_replaced(open_client) -> None:
    async with open_client(policy=RestartPolicy(backoff_s=0.01, hang_s=2.0, max_load_crashes=100)) as client:
        with pytest.raises(WorkerCrashedError, match="no sign of life"):
            await collect(client, request(owner="hang"))
        assert await collect(client, request()) == ((1, 2, 3), "length")
        assert client.state.num_restarts >= 1


async def test_an_idle_worker_is_not_taken_for_hung(open_client) -> None:
    async with open_client(policy=RestartPolicy(backoff_s=0.01, hang_s=3.0, max_load_crashes=100)) as client:
        await collect(client, request())
        pid = client.pid
        await asyncio.sleep(4)
        assert client.pid == pid
        assert await collect(client, request()) == ((1, 2, 3), "length")
        assert client.pid == pid


async def test_closing_ends_requests_and_leaves_no_process_task_or_descriptor(open_client) -> None:
    descriptors = set(os.listdir("/dev/fd"))
    async with open_client("--step-s", "0.002") as client:
        running = asyncio.create_task(collect(client, request(max_new_tokens=100_000)))
        await until(lambda: client.state.stats.num_running == 1)
        pid = client.pid
    assert not is_alive(pid)
    with pytest.raises(UnavailableError):
        await running
    assert client.state.status == "stopped"
    with pytest.raises(UnavailableError):
        await collect(client, request())
    await asyncio.sleep(0)  # the transport closes its socket in the loop's next round
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await until(lambda: set(os.listdir("/dev/fd")) <= descriptors)


@pytest.mark.parametrize("arguments", [("--fail", "hang"), ("--fail", "crash"), ("--load-s", "1")])
async def test_closing_while_it_loads_or_restarts_is_quick_and_clean(open_client, arguments: tuple[str, ...]) -> None:
    async with open_client(*arguments, policy=RestartPolicy(backoff_s=60.0)) as client:
        await until(lambda: client.state.status in ("loading", "restarting"))
        pid = client.pid
    assert not is_alive(pid)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_worker_that_ignores_shutdown_is_ended_by_force(open_client) -> None:
    async with open_client(policy=RestartPolicy(stop_grace_s=0.05)) as client:
        stuck = asyncio.create_task(collect(client, request(owner="hang")))
        await until(lambda: client.state.stats.num_running == 1)
        pid = client.pid
    assert not is_alive(pid)
    with pytest.raises(UnavailableError):
        await stuck


def has_tokenizer(client: WorkerClient) -> bool:
    try:
        return client.tokenizer is not None
    except UnavailableError:
        return False
