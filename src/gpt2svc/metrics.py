"""What the service counts and times about itself, in a registry of its own: /metrics shows it to Prometheus.

Names follow what the field's dashboards know (time to first token, inter-token latency, …). Each label has a small,
closed set of values: no path, method, id or other word of a request ever becomes one, so the number of series has a
bound that no client can move.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector

PREFIX = "gpt2svc"

_TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_FIRST_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_REPLY_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_MOMENT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Metrics:
    """One a process. An observation costs one to two microseconds, and is safe from any thread."""

    def __init__(self, versions: Mapping[str, str | None] | None = None) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Info(f"{PREFIX}_build", "Versions of the service and of what it runs on.", registry=self.registry)
        build.info({name: version or "" for name, version in (versions or {}).items()})

        self.http_requests = self._counter(
            "http_requests",
            "Answered requests, by the route's template and the class of the status.",
            "route",
            "status",
        )
        self.accepted = self._counter("generations_accepted", "Replies that were accepted and stored.")
        self.finished = self._counter(
            "generations_finished", "Replies that ended, by how they ended.", "status", "finish_reason"
        )
        self.rejected = self._counter("generations_rejected", "Replies refused for load, by the bound.", "reason")
        self.resumes = self._counter("stream_resumes", "Streams taken up again after a token.")
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts that were read.")
        self.cached_prompt_tokens = self._counter(
            "cached_prompt_tokens", "Tokens of prompts that came from a reused prefix."
        )
        self.generation_tokens = self._counter("generation_tokens", "Tokens that were generated.")
        self.time_to_first_token = self._histogram(
            "time_to_first_token_seconds", "From acceptance to the first token.", _FIRST_TOKEN_BUCKETS
        )
        self.inter_token_latency = self._histogram(
            "inter_token_latency_seconds", "Between two tokens of a reply.", _TOKEN_BUCKETS
        )
        self.e2e_latency = self._histogram(
            "e2e_request_latency_seconds", "From acceptance to the end of the reply.", _REPLY_BUCKETS
        )
        self.event_loop_lag = self._histogram(
            "event_loop_lag_seconds", "How much later than asked for the event loop woke a task.", _MOMENT_BUCKETS
        )
        self.database_write = self._histogram(
            "database_write_seconds", "A write transaction, with the wait for its turn.", _MOMENT_BUCKETS
        )

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", description, labels, registry=self.registry)

    def _histogram(self, name: str, description: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", description, buckets=buckets, registry=self.registry)
