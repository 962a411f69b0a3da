"""With a collector named, one trace goes from a request through every process that did something for it."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.db import connection

from clearing import access
from clearing.models import AtomicOperation, ClearingWindow
from clearing_project.celery import app
from clearing_project.stack import probes
from clearing_project.stack.processes import Process
from clearing_project.stack.runtime import REPOSITORY
from clearing_project.stack.servers import free_port
from settlement.simulators import risk_engine, settlement_engine
from settlement.simulators.risk_engine import RiskEngine
from settlement.simulators.settlement_engine import SettlementEngine
from tests.clearing.rpc.contract import Client
from tests.collector import Collector, Span
from tests.cycle.conftest import READY_SECONDS, WORKER_OPTIONS, node
from tests.cycle.day import ended
from tests.factories import A, B, circle, closed, obligation

pytestmark = [pytest.mark.cycle, pytest.mark.django_db(transaction=True, serialized_rollback=True)]

CALLER = "0af7651916cd43dd8448eb211c80319c"
HOST = "127.0.0.1"
SERVER, CLIENT, CONSUMER, FAILED = 2, 3, 5, 2  # as the protocol numbers them


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


class Site:
    """Web, gRPC, worker and relay, as a stack starts them, and engines outside."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.http, self.grpc = free_port(HOST), free_port(HOST)
        self._directory, self._environment = directory, environment
        self._stack = ExitStack()
        self.processes: list[Process] = []

    def start(self) -> None:
        """Start all and wait until each is ready."""
        app.control.purge()
        engine = SettlementEngine(self._directory / "engine.jsonl")
        settlement = self._stack.enter_context(settlement_engine.serving(engine, f"{HOST}:0"))
        risk = self._stack.enter_context(risk_engine.serving(RiskEngine(), f"{HOST}:0"))
        self._environment |= {
            "SETTLEMENT_ENGINE_URL": f"grpc://{HOST}:{settlement}",
            "RISK_ENGINE_URL": f"http://{HOST}:{risk}",
            "HTTP_HOST": HOST,
            "GRPC_PORT": str(self.grpc),
        }
        web = f"--bind={HOST}:{self.http} --worker-class=gthread --workers=1 --threads=4 --preload"
        more = "--config=python:clearing_project.webserver --no-control-socket --graceful-timeout=5"
        worker = f"celery -A clearing_project worker --hostname={node(self._directory)} {WORKER_OPTIONS}"
        started = {
            self._run(
                "web", "-m", "gunicorn", "clearing_project.wsgi:application", *web.split(), *more.split()
            ): probes.http(f"http://{HOST}:{self.http}/health/live"),
            self._run("worker", "-m", *worker.split()): probes.worker(
                settings.BROKER_URL, node(self._directory)
            ),
            self._run("grpc", "manage.py", "grpc_server"): probes.grpc_health(f"{HOST}:{self.grpc}"),
            self._run("relay", "manage.py", "relay"): probes.log_says(self._log("relay"), "relay ready"),
        }
        for name, ready in started.items():
            (process,) = [each for each in self.processes if each.name == name]
            process.wait_until(ready, seconds=READY_SECONDS)

    def stop(self) -> None:
        """Stop all in order: what they have not sent yet they send now."""
        for process in self.processes:
            process.stop()
        self._stack.close()

    def _run(self, name: str, *arguments: str) -> str:
        process = Process(
            name,
            [sys.executable, *arguments],
            directory=self._directory,
            log=self._log(name),
            environment={**self._environment, "REMAP_SIGTERM": "SIGQUIT"},
            cwd=REPOSITORY,
        )
        self.processes.append(process)
        process.start()
        return name

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"


@pytest.fixture
def site(
    transactional_db: None, test_environment: dict[str, str], tmp_path: Path, collector: Collector
) -> Iterator[Site]:
    made = Site(tmp_path, {**test_environment, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    try:
        made.start()
        yield made
    finally:
        made.stop()


def processed(site: Site, window: ClearingWindow, token: str) -> AtomicOperation:
    """Have the window cleared over REST, as a part of a caller's trace."""
    answer = httpx.post(
        f"http://{HOST}:{site.http}/api/v1/clearing/windows/{window.pk}/process?",
        headers={
            "Authorization": f"Bearer {token}",
            "X-Request-ID": "trace-me",
            "traceparent": f"00-{CALLER}-b7ad6b7169203331-01",
        },
    )
    assert answer.status_code == 202, answer.text
    return ended(AtomicOperation.objects.get(window=window, operation_type="WindowClearing"))


def names(spans: list[Span], kind: int) -> set[str]:
    return {each.name for each in spans if each.kind == kind}


def test_one_trace_goes_from_the_request_through_every_process(site: Site, collector: Collector) -> None:
    circle(1000)
    token = access.issue("tracer", role="operator")
    window = closed(obligation(A, B, reference="SECRET-REFERENCE"), min_netting_efficiency_bps=0)
    run = processed(site, window, token)
    client = Client(f"{HOST}:{site.grpc}", token)
    client.GetWindowStatus(window_id=window.pk)
    client.channel.close()
    site.stop()

    ours = [each for each in collector.spans if each.trace_id == CALLER]
    ids = {"request_id": "trace-me", "window_id": str(window.pk), "operation_id": str(run.pk)}
    assert {each.service for each in ours} == {"clearing-web", "clearing-worker"}
    (request,) = [each for each in ours if each.kind == SERVER]
    assert request.name == "POST api/v1/clearing/windows/<int:window_id>/process"
    assert (request.attributes["request_id"], request.attributes["window_id"]) == ("trace-me", str(window.pk))

    tasks = [each for each in ours if each.kind == CONSUMER]
    cycle = {
        f"clearing.pipeline.{name}" for name in ("collect", "net_currency", "seal", "instruct", "settle")
    }
    assert names(ours, CONSUMER) == cycle
    for task in tasks:
        assert ids.items() <= task.attributes.items(), task
        assert task.status != FAILED

    calls = [each for each in ours if each.kind == CLIENT]
    assert {"/settlement.SettlementService/ExecuteSettlement", "POST"} <= {each.name for each in calls}
    for call in calls:
        if call.service == "clearing-worker":
            assert ids.items() <= call.attributes.items(), call
    queries = [each for each in calls if each.attributes.get("db.system") == "postgresql"]
    assert len(queries) > 10
    assert any("%s" in each.attributes["db.statement"] for each in queries)

    (method,) = collector.of("clearing-grpc_server", "clearing.ClearingService/GetWindowStatus")
    assert method.kind == SERVER
    assert method.attributes["window_id"] == str(window.pk)
    assert [each for each in collector.spans if each.parent_id == method.span_id]
    published = collector.of("clearing-relay", "publish")
    assert {each.attributes["window_id"] for each in published} == {str(window.pk)}
    assert ids["request_id"] in {each.attributes.get("request_id") for each in published}


def test_nothing_secret_is_sent_and_nothing_of_who_only_looks(site: Site, collector: Collector) -> None:
    circle(1000)
    token = access.issue("tracer", role="operator")
    window = closed(obligation(A, B, reference="SECRET-REFERENCE"), min_netting_efficiency_bps=0)
    processed(site, window, token)
    site.stop()

    sent = b"".join(collector.bodies)
    password = connection.settings_dict["PASSWORD"] or "no-password"
    for secret in (token, "SECRET-REFERENCE", settings.SECRET_KEY, password):
        assert secret.encode() not in sent
    roots = [each for each in collector.spans if not each.parent_id]
    assert roots
    assert [each.name for each in roots if each.kind == CLIENT] == []
    assert [
        each for each in collector.spans if "/health" in str(each.attributes.get("http.target", ""))
    ] == []
