"""Dashboard and alerts ask only for what /metrics tells, and the compose file mounts what is there."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gpt2svc.app import create_app
from gpt2svc.config import Settings
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.tokenizer import write_tokenizer_folder

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "monitoring"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "gpt2svc.json"


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def _queries() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    for group in _yaml(FOLDER / "alerts.yml")["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def _series_names(query: str) -> set[str]:
    return set(re.findall(r"\b(?:gpt2svc|process)_\w+", re.sub(r'"[^"]*"', "", query)))


def _labels(query: str) -> set[tuple[str, str]]:
    """Name of a series and of a label that it is picked by."""
    found = re.findall(r"\b(gpt2svc_\w+)\{([^}]*)\}", query)
    return {(name, label) for name, matchers in found for label in re.findall(r"(\w+)\s*[=!]", matchers)}


async def _exported(folder: Path) -> dict[str, set[str]]:
    """Each series of /metrics with the names of its labels, after one reply and one refusal."""
    engine = ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(folder / "tokenizer")))
    settings = Settings(data_dir=folder / "data", model="tiny")
    app = create_app(settings, engines=ScriptedPool(engine))
    app.state.services.metrics.rejected.labels("requests").inc()
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        conversation = (await client.post("/api/conversations", json={})).json()["id"]
        await client.post(f"/api/conversations/{conversation}/messages", json={"content": "Hi"})
        text = (await client.get("/metrics")).text
    exported: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            exported.setdefault(sample.name, set()).update(sample.labels)
    return exported


async def test_every_series_that_is_asked_for_is_exported_with_its_labels(tmp_path: Path) -> None:
    exported = await _exported(tmp_path)
    queries = list(_queries())
    assert len(queries) > 30
    for query in queries:
        assert _series_names(query) <= exported.keys(), query
        for name, label in _labels(query) - {(name, "job") for name in exported}:
            assert label in exported[name], query
        for by, name in re.findall(r"by \((\w+)\) \(?(?:rate|increase)?\(?(gpt2svc_\w+)", query):
            assert by in exported[name], query


async def test_everything_of_our_own_that_is_exported_is_shown_or_named_in_the_documents(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for name in await _exported(tmp_path):
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        if name.startswith("gpt2svc_") and not name.endswith("_created"):
            assert f"`{family}`" in page, family


def test_the_compose_file_mounts_files_that_are_there_and_scrapes_its_own_service() -> None:
    compose = _yaml(ROOT / "docker-compose.yml")
    services = compose["services"]
    assert {name for name, service in services.items() if "monitoring" in service["profiles"]} == {
        "prometheus",
        "grafana",
    }
    for name in ("prometheus", "grafana"):
        for mount in services[name]["volumes"]:
            source = mount.split(":")[0]
            assert source in compose["volumes"] or (ROOT / source).exists(), mount
        assert all(port.startswith("127.0.0.1:") for port in services[name].get("ports", []))
    config = _yaml(FOLDER / "prometheus.yml")
    [job] = config["scrape_configs"]
    [target] = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert port == "8000"
    for name in ("cpu", "gpu"):
        assert host in services[name]["networks"]["default"]["aliases"]
    secret = Path(job["authorization"]["credentials_file"])
    assert secret.name in services["prometheus"]["secrets"]
    assert compose["secrets"][secret.name] == {"environment": "GPT2SVC_API_KEY"}
    mounted = {mount.split(":")[1] for mount in services["prometheus"]["volumes"]}
    assert set(config["rule_files"]) <= mounted
    provider = _yaml(FOLDER / "grafana/provisioning/dashboards/gpt2svc.yml")["providers"][0]
    assert any(mount.split(":")[1] == provider["options"]["path"] for mount in services["grafana"]["volumes"])


def test_panels_ask_the_data_source_that_is_provisioned() -> None:
    [source] = _yaml(FOLDER / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == source["uid"]
    assert any(panel["type"] == "alertlist" for panel in panels)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_own_checker_finds_no_fault() -> None:
    done = subprocess.run(["promtool", "check", "rules", FOLDER / "alerts.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
