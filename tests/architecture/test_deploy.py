"""What deploy/ holds is valid, names what there is, and runs what the stack runs."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate
import promql_parser
import pytest
import yaml

from clearing.metrics import TableCollector
from clearing_project.stack.children import MIGRATE, Site, children
from clearing_project.stack.runtime import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.stem != "kustomization")
PLACES = ("--bind=", "--address=", "--port=", "--hostname=", "--worker-tmp-dir=")
NAMED = re.compile(r"\bdeltran_\w+")


def rules() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def panels() -> Iterator[dict[str, Any]]:
    for path in DASHBOARDS:
        yield from json.loads(path.read_text())["panels"]


def queries() -> list[str]:
    """Every expression of rules and dashboards."""
    drawn = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [rule["expr"] for rule in rules()] + drawn


def resources() -> list[dict[str, Any]]:
    return [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]


def pods() -> dict[str, dict[str, Any]]:
    """The pod of every workload by its name."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in resources()
        if each["kind"] in ("Deployment", "Job")
    }


@pytest.mark.django_db
def test_every_figure_that_is_named_exists() -> None:
    known = set()
    for family in TableCollector(at=datetime.now(UTC)).collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        known |= {family.name + ending for ending in endings.get(family.type, ("",))}

    named = {name for query in queries() for name in NAMED.findall(query)}
    assert len(named) > 15
    assert named - known == set()


@pytest.mark.parametrize("query", queries())
def test_every_query_is_promql(query: str) -> None:
    assert promql_parser.parse(query)


def test_nonsense_is_not_promql() -> None:
    with pytest.raises(ValueError, match=r"invalid|unexpected|expected"):
        promql_parser.parse("sum by (deltran_clearing_queue_depth) >")


def test_every_alert_says_how_grave_it_is_and_what_to_read() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 10
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert (REPOSITORY / rule["annotations"]["runbook"]).is_file(), rule["alert"]


def test_panels_do_not_lie_on_each_other_and_ask_the_provisioned_source() -> None:
    (source,) = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    )["datasources"]
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["datasource"]["uid"] == source["uid"]
        assert panel["targets"], panel["title"]


def test_prometheus_asks_where_the_web_service_answers() -> None:
    asked = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = asked["scrape_configs"]

    assert job["job_name"] in next(rule["expr"] for rule in rules() if rule["expr"].startswith("up"))
    assert job["static_configs"] == [{"targets": ["web:8085"]}]
    assert asked["rule_files"] == ["rules.yml"]


@pytest.mark.parametrize(
    "resource", resources(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
def test_every_manifest_follows_the_schema_of_kubernetes(resource: dict[str, Any]) -> None:
    kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_key_does_not() -> None:
    broken = next(each for each in resources() if each["kind"] == "Deployment")
    broken["spec"]["replica"] = 2

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_runs_what_the_stack_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETTLEMENT_ENGINE_URL", "grpc://127.0.0.1:1")  # every process there may be
    servers = {"DATABASE_URL": "postgres://", "REDIS_URL": "redis://", "NATS_URL": "nats://"}
    site = Site(tmp_path, servers, http_host="127.0.0.1", http_port=1, grpc_port=2, flower_port=3)
    lasting = [MIGRATE, *(child for child in children(site) if not child.once)]
    stack = {child.name.removesuffix("-1"): child for child in lasting}

    assert set(pods()) == set(stack)
    for name, pod in pods().items():
        (container,) = pod["containers"]
        told = {word for word in container["command"] if not word.startswith(PLACES)} - {"python"}
        assert told == {
            word for word in stack[name].arguments if word != "-m" and not word.startswith(PLACES)
        }
        given = {each["name"]: each["value"] for each in container.get("env", [])}
        given.pop("PULSE_FILE", None)
        if name != "flower":
            assert given == stack[name].environment, name


def test_every_deployment_is_watched() -> None:
    for name, pod in pods().items():
        (container,) = pod["containers"]
        assert name == "migrate" or "livenessProbe" in container, name
        command = container.get("livenessProbe", {}).get("exec", {}).get("command", [])
        if "pulse" in command:
            assert {"name": "PULSE_FILE", "value": command[-1]} in container["env"], name
        assert ("pulse" in command) == (name in {"beat", "relay", "webhooks", "intake", "confirmations"}), (
            name
        )


def test_confirmations_wait_for_a_settlement_engine_to_be_named() -> None:
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    (config,) = [each["data"] for each in resources() if each["kind"] == "ConfigMap"]

    assert kustomization["replicas"] == [{"name": "confirmations", "count": 0}]
    assert config["SETTLEMENT_ENGINE_URL"] == ""


@pytest.mark.django_db
def test_workers_grow_with_a_figure_that_is_told() -> None:
    (scaler,) = [each for each in resources() if each["kind"] == "HorizontalPodAutoscaler"]
    (metric,) = [each["external"]["metric"] for each in scaler["spec"]["metrics"]]
    told = {
        (family.name, sample.labels.get("queue"))
        for family in TableCollector(at=datetime.now(UTC)).collect()
        for sample in family.samples
    }

    assert (metric["name"], metric["selector"]["matchLabels"]["queue"]) in told
    assert scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]


def test_no_pod_may_more_than_it_needs() -> None:
    for name, pod in pods().items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]) == {"requests", "limits"}


def test_every_selector_finds_its_pods_and_every_reference_its_target() -> None:
    found = {(each["kind"], each["metadata"]["name"]): each for each in resources()}
    labels = {
        name: each["spec"]["template"]["metadata"]["labels"]
        for (kind, name), each in found.items()
        if kind in ("Deployment", "Job")
    }
    for (kind, name), each in found.items():
        selector = each["spec"].get("selector") if kind not in ("ConfigMap", "Job") else None
        if selector:
            assert selector.get("matchLabels", selector) == labels[name], (kind, name)
    assert found["HorizontalPodAutoscaler", "worker"]["spec"]["scaleTargetRef"]["name"] in labels
    assert found["Deployment", "beat"]["spec"]["strategy"] == {"type": "Recreate"}


def test_kustomize_lists_every_manifest_and_no_secret_is_in_one() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())

    assert sorted(listed["resources"]) == [path.name for path in MANIFESTS]
    assert "Secret" not in {each["kind"] for each in resources()}
    (config,) = [each["data"] for each in resources() if each["kind"] == "ConfigMap"]
    assert not {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "NATS_URL", "FLOWER_BASIC_AUTH"} & set(config)


def test_the_image_is_built_of_files_that_are_let_into_its_context() -> None:
    let_in = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().split() if line.startswith("!")}
    copied = {
        word
        for line in (DEPLOY / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
    }

    assert {"requirements.txt", "requirements-otel.txt", "clearing"} <= copied
    assert copied == let_in
    assert all((REPOSITORY / name).exists() for name in copied)
