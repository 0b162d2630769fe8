"""/metrics: what Prometheus reads."""

from typing import Annotated

from fastapi import APIRouter, Header
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from gpt2svc.api.error_docs import error_responses
from gpt2svc.api.services import ServicesDep

router = APIRouter(tags=["health"])

PATH = "/metrics"

EXAMPLE = """\
# HELP gpt2svc_num_requests_running Replies being written.
# TYPE gpt2svc_num_requests_running gauge
gpt2svc_num_requests_running 3.0
"""


@router.get(
    PATH,
    summary="Metrics for Prometheus",
    response_class=Response,
    response_description="Prometheus' text format, or OpenMetrics where `Accept` asks for that.",
    responses={200: {"content": {"text/plain": {"example": EXAMPLE}}}, **error_responses()},
)
async def read_metrics(services: ServicesDep, accept: Annotated[str, Header(include_in_schema=False)] = "") -> Response:
    """Latencies, tokens, the queue, the cache, endings, restarts. Where there are keys, one with the scope `admin`."""
    encode, content_type = choose_encoder(accept)
    return Response(encode(services.metrics.registry), headers={"Content-Type": content_type})
