"""Metrics that are not counted but looked up when /metrics is read: what runs, what waits, what is left."""

import asyncio
import threading
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from gpt2svc.generation.admission import Admission
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.metrics import PREFIX
from gpt2svc.worker.protocol import EnginePool, EngineState


class StateCollector(Collector):
    """The label `model` has the names of the loaded models: `max_loaded_models` at most."""

    def __init__(self, generations: GenerationSupervisor, admission: Admission, engines: EnginePool) -> None:
        self._generations = generations
        self._admission = admission
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        num_waiting = self._generations.num_queued
        yield _gauge("num_requests_running", "Replies being written.", self._generations.num_active - num_waiting)
        yield _gauge("num_requests_waiting", "Replies accepted and without a first token.", num_waiting)
        admission = self._admission
        yield _gauge("admission_requests", "Places for replies that are taken.", admission.num_requests)
        yield _gauge("admission_max_requests", "Places for replies.", admission.max_requests)
        yield _gauge("admission_tokens", "Tokens that the replies in progress may need.", admission.num_tokens)
        yield _gauge("admission_max_tokens", "Tokens that they may need at most.", admission.max_tokens)
        yield _gauge("asyncio_tasks", "Tasks of the event loop.", _num_tasks())
        yield _gauge("threads", "Threads of the API process.", threading.active_count())
        yield from _engine_metrics(self._engines.states())


def _num_tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0  # read from outside the loop


def _engine_metrics(states: list[EngineState]) -> Iterator[Metric]:
    ready = GaugeMetricFamily(f"{PREFIX}_model_ready", "Whether the model can write.", labels=["model"])
    slots = GaugeMetricFamily(f"{PREFIX}_kv_cache_slots", "Slots of the key-value cache.", labels=["model"])
    used = GaugeMetricFamily(f"{PREFIX}_kv_cache_slots_used", "Slots that running replies hold.", labels=["model"])
    restarts = CounterMetricFamily(
        f"{PREFIX}_worker_restarts", "Times that the model's process was started again.", labels=["model"]
    )
    queued = SummaryMetricFamily(
        f"{PREFIX}_request_queue_time_seconds", "From a reply's way into the engine to its slot.", labels=["model"]
    )
    for state in states:
        queued.add_metric([state.model], state.stats.num_admitted, state.stats.queued_s)
        ready.add_metric([state.model], float(state.status == "ready"))
        slots.add_metric([state.model], state.stats.num_slots)
        used.add_metric([state.model], state.stats.num_slots - state.stats.num_free_slots)
        restarts.add_metric([state.model], state.num_restarts)
    yield from (ready, slots, used, restarts, queued)


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", description, value=value)
