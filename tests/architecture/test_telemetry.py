"""OpenTelemetry is optional: without its variable it is not imported, with it nothing starts by halves."""

import os
import time

import pytest

from clearing_project import pulse
from clearing_project.stack import probes
from clearing_project.stack.servers import free_port
from tests.architecture.test_security import DATABASE, SOUND, started
from tests.collector import Collector

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
GIVEN = {"DATABASE_URL": DATABASE, "SECRET_KEY": SOUND}
ALL_DOORS = (
    "import sys, clearing_project.wsgi, clearing_project.celery, clearing_project.webserver as server;"
    " import clearing.rpc.server, clearing.consumers.obligations, clearing.tasks;"
    " server.post_fork(None, None); clearing_project.celery.trace_this_process();"
)
# redis asks for OpenTelemetry's interface by itself, where it is installed: that alone is none of ours.
OURS = (
    "clearing_project.tracing",
    "opentelemetry.instrumentation",
    "opentelemetry.exporter",
    "opentelemetry.sdk.trace",
)
SEEN = f"print([name for name in {OURS!r} if name in sys.modules])"
SPAN = (
    "from clearing_project import telemetry, trace; telemetry.start('test');"
    " work = trace.step('piece', window_id=7, operation_id='o', request_id='r');"
    " work.__enter__(); work.__exit__(None, None, None);"
)


@pytest.mark.parametrize(
    "given", [{}, {ENDPOINT: ""}, {ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}]
)
def test_unless_it_is_asked_for_nothing_is_imported(given: dict[str, str]) -> None:
    ran = started("-c", ALL_DOORS + SEEN, **GIVEN, **given)

    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr


def test_it_is_imported_where_it_is_asked_for() -> None:
    ran = started("-c", ALL_DOORS + SEEN, **GIVEN, **{ENDPOINT: "http://127.0.0.1:1"})

    assert (ran.stdout.strip(), ran.returncode) == (str(list(OURS)), 0), ran.stderr


@pytest.mark.parametrize(
    "missing",
    ["opentelemetry", "opentelemetry.instrumentation.psycopg", "opentelemetry.instrumentation.grpc"],
)
def test_with_the_variable_and_a_package_missing_nothing_starts(missing: str) -> None:
    without = f"import sys; sys.modules[{missing!r}] = None; import clearing_project.settings"

    ran = started("-c", without, **GIVEN, **{ENDPOINT: "http://127.0.0.1:1"})

    assert ran.returncode == 1
    assert "requirements-otel.txt" in ran.stderr
    assert missing in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_protocol_that_is_not_spoken_is_refused() -> None:
    ran = started(
        "manage.py",
        "check",
        **GIVEN,
        **{ENDPOINT: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    )

    assert ran.returncode == 1
    assert "http/protobuf" in ran.stderr


def test_a_collector_that_is_away_costs_seconds_at_the_end_and_nothing_else() -> None:
    since = time.monotonic()

    ran = started(
        "-c", SPAN + "telemetry.stop()", **GIVEN, **{ENDPOINT: f"http://127.0.0.1:{free_port('127.0.0.1')}"}
    )

    assert ran.returncode == 0, ran.stderr
    assert time.monotonic() - since < 25


def test_a_span_bears_the_ids_of_its_work_and_its_service() -> None:
    with Collector() as collector:
        named = started("-c", SPAN + "telemetry.stop()", **GIVEN, **{ENDPOINT: collector.url})
        renamed = started(
            "-c", SPAN + "telemetry.stop()", **GIVEN, **{ENDPOINT: collector.url, "OTEL_SERVICE_NAME": "mine"}
        )

    assert (named.returncode, renamed.returncode) == (0, 0), named.stderr + renamed.stderr
    (span,) = collector.of("clearing-test", "piece")
    told = {name: span.attributes[name] for name in ("window_id", "operation_id", "request_id")}
    assert told == {"window_id": "7", "operation_id": "o", "request_id": "r"}
    assert len(collector.of("mine", "piece")) == 1


def test_a_sign_of_life_is_left_where_it_is_looked_for(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = f"{tmp_path}/pulse"
    monkeypatch.delenv("PULSE_FILE", raising=False)
    pulse.beat()
    with pytest.raises(FileNotFoundError):
        probes.pulse(file)()

    monkeypatch.setenv("PULSE_FILE", file)
    pulse.beat()
    probes.pulse(file)()

    os.utime(file, (time.time() - 61, time.time() - 61))
    with pytest.raises(ConnectionError, match="61 s ago"):
        probes.pulse(file)()
