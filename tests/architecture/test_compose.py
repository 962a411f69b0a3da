"""docker-compose.yml is valid and runs the same processes as the stack."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from clearing_project.stack.children import MIGRATE, Child, Site, children
from clearing_project.stack.runtime import REPOSITORY

SCHEMA = REPOSITORY / "deploy" / "schema" / "compose-spec.json"
SERVERS = {"postgres", "redis", "nats", "prometheus", "grafana"}
PLACES = ("--bind=", "--address=", "--port=", "--hostname=")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    return document


@pytest.fixture(autouse=True)
def settlement_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A settlement engine is named, so that the stack has every process there may be."""
    monkeypatch.setenv("SETTLEMENT_ENGINE_URL", "grpc://127.0.0.1:1")


def processes(tmp_path: Path) -> dict[str, Child]:
    """The stack's long-lived processes and the migration, by the name of their service."""
    servers = {"DATABASE_URL": "postgres://", "REDIS_URL": "redis://", "NATS_URL": "nats://"}
    site = Site(tmp_path, servers, http_host="127.0.0.1", http_port=1, grpc_port=2, flower_port=3)
    lasting = [child for child in children(site) if not child.once]
    return {child.name.removesuffix("-1"): child for child in [MIGRATE, *lasting]}


def test_the_file_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text())

    jsonschema.Draft201909Validator.check_schema(schema)
    jsonschema.Draft201909Validator(schema).validate(compose)


def test_the_schema_refuses_a_misspelt_key(compose: dict[str, Any]) -> None:
    broken = {**compose, "services": {"web": {**compose["services"]["web"], "dependson": []}}}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft201909Validator(json.loads(SCHEMA.read_text())).validate(broken)


def test_it_has_a_service_for_every_process_of_the_stack(compose: dict[str, Any], tmp_path: Path) -> None:
    assert set(compose["services"]) == SERVERS | set(processes(tmp_path))


def test_each_service_runs_what_the_stack_runs(compose: dict[str, Any], tmp_path: Path) -> None:
    for name, child in processes(tmp_path).items():
        stack = {word for word in child.arguments if word != "-m" and not word.startswith(PLACES)}
        service = {word for word in compose["services"][name]["command"] if not word.startswith(PLACES)}
        assert service - {"python"} == stack, name


def test_each_service_that_lasts_is_watched(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert name == "migrate" or service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_a_process_that_listens_nowhere_is_asked_for_the_sign_of_life_it_gives(
    compose: dict[str, Any],
) -> None:
    silent = {
        name
        for name, each in compose["services"].items()
        if "pulse" in each.get("healthcheck", {"test": []})["test"]
    }

    assert silent == {"beat", "relay", "webhooks", "intake", "confirmations"}
    for name in silent:
        service = compose["services"][name]
        assert service["environment"]["PULSE_FILE"] == service["healthcheck"]["test"][-1]


def test_what_needs_a_settlement_engine_starts_only_when_asked_for(compose: dict[str, Any]) -> None:
    asked_for = {
        name for name, each in compose["services"].items() if "settlement-engine" in each.get("profiles", [])
    }

    assert asked_for == {"confirmations"}


def test_engines_outside_and_a_collector_are_named_in_one_place(compose: dict[str, Any]) -> None:
    for name in ("web", "grpc", "worker", "confirmations", "beat"):
        told = compose["services"][name]["environment"]
        for engine in ("OBLIGATION", "SETTLEMENT", "RISK"):
            assert told[f"{engine}_ENGINE_URL"] == f"${{{engine}_ENGINE_URL:-}}"
        assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "${OTEL_EXPORTER_OTLP_ENDPOINT:-}"


def test_every_dependency_and_volume_exists(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (REPOSITORY / source).is_dir(), volume


def test_no_secret_is_written_into_the_file_and_no_port_faces_the_network(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if "PASSWORD" in variable or variable in {"SECRET_KEY", "FLOWER_BASIC_AUTH"}:
                assert value.startswith("${"), (name, variable)
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
