"""The OpenAPI document: valid, complete, and true to what is answered."""

import time
from typing import Any

import pytest
import yaml
from django.utils import timezone
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from clearing.api.urls import PREFIX, ROUTES
from clearing.models import WindowEvent
from clearing_project import counts
from tests import factories
from tests.clearing.api.caller import Caller, bulk
from tests.factories import A, B, C, obligation

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def document() -> Any:
    """The document as it is served."""
    answer = Caller().get("/api/schema")
    assert answer.status_code == 200
    return yaml.safe_load(answer.content)


def conforms(document: Any, method: str, path: str, answer: Any) -> None:
    """Hold an answer to the schema of its address."""
    response = document["paths"][path][method]["responses"][str(answer.status_code)]
    media_type = answer.headers["Content-Type"]
    schema = response["content"][media_type]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json())


def test_the_document_is_valid(document: Any) -> None:
    validate(document)


def test_every_address_is_in_it(document: Any) -> None:
    shown = {
        f"/{PREFIX}{route}".replace("<int:", "{").replace("<uuid:", "{").replace("<str:", "{")
        for route in ROUTES
    }

    assert {path.replace(">", "}") for path in shown} <= set(document["paths"])


def test_every_method_tells_its_problems_and_asks_for_a_token(document: Any) -> None:
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            if path.endswith(("health", "/live", "/ready")):
                assert "security" not in described or {} in described["security"]
                continue
            assert described["security"] == [{"bearer": []}], path
            assert {"401", "403", "500", "503"} <= set(described["responses"]), path
            for status, response in described["responses"].items():
                if status == "304":
                    assert "content" not in response
                    continue
                media_types = set(response["content"])
                assert media_types == {"application/problem+json" if status >= "400" else "application/json"}
            names = {each["name"] for each in described.get("parameters", [])}
            assert ("Idempotency-Key" in names) == (method == "post")
            assert ("If-Match" in names) == (method == "put")
            assert ("304" in described["responses"]) == ("If-None-Match" in names)


def test_examples_of_problems_are_problems(document: Any) -> None:
    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    examples = [
        example["value"]
        for methods in document["paths"].values()
        for described in methods.values()
        for status, response in described["responses"].items()
        if status >= "400" and status != "503"
        for example in response["content"]["application/problem+json"]["examples"].values()
    ]

    assert len(examples) > 100
    for example in examples:
        Draft202012Validator(schema).validate(example)


def test_answers_are_as_the_document_says(document: Any, operator: Caller) -> None:
    factories.circle()
    counts.beat(time.time())
    window = factories.window()
    sent = bulk(obligation(A, B), obligation(B, C, 7, currency="JPY"), obligation(A, A), on_error="per_item")
    taken = operator.post("obligations", sent)
    conforms(document, "post", "/api/v1/clearing/obligations", taken)
    closed = operator.post("force-close", {"window_id": window.pk, "reason": "test"})
    conforms(document, "post", "/api/v1/clearing/force-close", closed)
    run = factories.settled(window)
    opened = operator.post("windows", {"region": "ADGM"})
    conforms(document, "post", "/api/v1/clearing/windows", opened)
    WindowEvent.objects.update(published_at=timezone.now())
    instruction = operator.get("instructions").json()["results"][0]["id"]

    for path, values in {
        "windows": {},
        "windows/current": {"query": {"region": "ADGM"}},
        "windows/{window_id}": {},
        "windows/{window_id}/status": {},
        "windows/{window_id}/preview": {},
        "windows/{window_id}/result": {},
        "windows/{window_id}/positions": {},
        "windows/{window_id}/events": {},
        "windows/{window_id}/operations": {},
        "operations/{operation_id}": {},
        "obligations": {},
        "obligations/{obligation_id}": {},
        "instructions": {},
        "instructions/{instruction_id}": {},
        "participants": {},
        "participants/{code}": {},
        "accounts": {},
        "metrics": {},
        "health": {},
    }.items():
        filled = path.format(
            window_id=window.pk,
            operation_id=run.pk,
            obligation_id=taken.json()["items"][0]["id"],
            instruction_id=instruction,
            code=A,
        )
        answer = operator.get(filled, **values.get("query", {}))
        assert answer.status_code == 200, path
        conforms(document, "get", f"/api/v1/clearing/{path}", answer)


def test_started_and_rolled_back_are_as_the_document_says(document: Any, operator: Caller) -> None:
    factories.circle()
    window = factories.closed(obligation())

    started = operator.post(f"windows/{window.pk}/process")
    conforms(document, "post", "/api/v1/clearing/windows/{window_id}/process", started)
    undone = operator.post(f"rollback/{window.pk}", {"reason": "test"})
    conforms(document, "post", "/api/v1/clearing/rollback/{window_id}", undone)


@pytest.mark.parametrize("path", ["/api/docs", "/api/redoc"])
def test_the_pages_need_no_other_host(path: str) -> None:
    page = Caller().get(path).content.decode()

    assert "/api/schema" in page
    scripts = [part.split('"')[0] for part in page.split('src="')[1:]]
    assert scripts
    for script in scripts:
        assert script.startswith("/static/"), script
        assert Caller().get(script).status_code == 200
