"""Who may do what at every address: a matrix, and no address outside it."""

import uuid
from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from clearing import access
from clearing.api.urls import PREFIX, ROUTES
from clearing.models.access import ApiToken, Role
from tests import factories
from tests.clearing.api.caller import Caller, is_problem

pytestmark = pytest.mark.django_db

ALL = {"operator", "approver", "auditor", "participant"}
STAFF = {"operator", "approver", "auditor"}
OPERATOR = {"operator"}

MATRIX: dict[tuple[str, str], set[str]] = {
    ("GET", "windows"): ALL,
    ("POST", "windows"): OPERATOR,
    ("GET", "windows/current"): ALL,
    ("GET", "windows/<int:window_id>"): ALL,
    ("GET", "windows/<int:window_id>/status"): ALL,
    ("POST", "windows/<int:window_id>/process"): OPERATOR,
    ("POST", "windows/<int:window_id>/correct"): OPERATOR,
    ("GET", "windows/<int:window_id>/preview"): STAFF,
    ("GET", "windows/<int:window_id>/result"): ALL,
    ("GET", "windows/<int:window_id>/positions"): ALL,
    ("GET", "windows/<int:window_id>/events"): STAFF,
    ("GET", "windows/<int:window_id>/operations"): STAFF,
    ("GET", "operations/<uuid:operation_id>"): STAFF,
    ("GET", "obligations"): ALL,
    ("POST", "obligations"): {"operator", "participant"},
    ("GET", "obligations/<uuid:obligation_id>"): ALL,
    ("POST", "obligations/<uuid:obligation_id>/cancel"): {"operator", "participant"},
    ("POST", "obligations/<uuid:obligation_id>/hold"): {"operator", "participant"},
    ("POST", "obligations/<uuid:obligation_id>/release"): {"operator", "participant"},
    ("GET", "instructions"): ALL,
    ("GET", "instructions/<uuid:instruction_id>"): ALL,
    ("POST", "instructions/<uuid:instruction_id>/declare"): {"approver"},
    ("GET", "participants"): ALL,
    ("GET", "participants/<str:code>"): ALL,
    ("GET", "participants/<str:code>/limits"): ALL,
    ("PUT", "participants/<str:code>/limits"): OPERATOR,
    ("GET", "accounts"): ALL,
    ("GET", "schedules"): ALL,
    ("GET", "schedules/<str:region>"): ALL,
    ("GET", "schedules/<str:region>/preview"): ALL,
    ("POST", "force-close"): OPERATOR,
    ("POST", "emergency"): OPERATOR,
    ("POST", "rollback/<int:window_id>"): OPERATOR,
    ("GET", "metrics"): STAFF,
}
OPEN = {
    "metrics",
    f"{PREFIX}health",
    "health/live",
    "health/ready",
    "api/schema",
    "api/docs",
    "api/redoc",
    "^(api|health)(/|$)",
}


def addresses(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    """Yield every address below the resolver."""
    for pattern in resolver.url_patterns:
        place = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield place
        else:
            yield from addresses(pattern, place)


def path(route: str) -> str:
    """Fill an address with ids that do not exist."""
    for name, value in (
        ("<int:window_id>", "999999"),
        ("<uuid:operation_id>", str(uuid.uuid4())),
        ("<uuid:obligation_id>", str(uuid.uuid4())),
        ("<uuid:instruction_id>", str(uuid.uuid4())),
        ("<str:code>", "NOBODY"),
        ("<str:region>", "Atlantis"),
    ):
        route = route.replace(name, value)
    return route


def test_every_address_is_in_the_matrix_or_open() -> None:
    inside = {f"{PREFIX}{route}" for _, route in MATRIX}
    ours = {
        place
        for place in addresses(get_resolver())
        if place.startswith(("api", "health", "metrics", "^(api"))
    }

    assert ours == inside | OPEN


def test_every_method_is_in_the_matrix() -> None:
    offered = {
        (method.upper(), route)
        for route, view in ROUTES.items()
        for method in ("get", "post", "put", "patch", "delete")
        if hasattr(view, method)
    }

    assert offered - {("GET", "health")} == set(MATRIX)


@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize(("method", "route"), sorted(MATRIX))
def test_a_role_may_what_the_matrix_says_and_nothing_else(method: str, route: str, role: str) -> None:
    factories.participant()
    code = factories.A if role == Role.PARTICIPANT else None
    caller = Caller(access.issue("someone", role=role, participant_code=code))

    answer = caller.send(method, path(route), "", media_type="application/json")

    if role in MATRIX[method, route]:
        assert answer.status_code not in (401, 403, 405, 500), answer.content
    else:
        assert is_problem(answer, 403, "permission_denied")["role"] == role


@pytest.mark.parametrize(("method", "route"), sorted(MATRIX))
def test_without_a_token_nothing_is_answered(method: str, route: str) -> None:
    answer = Caller().send(method, path(route))

    is_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Basic b3A6b3A=",
        "Bearer \xff\xfe",
        "Bearer a b",
        "Bearer " + "x" * 9999,
    ],
)
def test_a_header_that_names_no_token_is_refused(header: str) -> None:
    answer = Caller().client.get("/api/v1/clearing/windows", headers={"Authorization": header})

    is_problem(answer, 401, "not_authenticated")


def test_a_revoked_token_and_a_deactivated_user_stay_outside(operator: Caller) -> None:
    assert operator.get("windows").status_code == 200
    token = ApiToken.objects.get()

    token.revoked_at = factories.AT
    token.save()
    is_problem(operator.get("windows"), 401, "not_authenticated")

    token.revoked_at = None
    token.save()
    token.user.is_active = False
    token.user.save()
    is_problem(operator.get("windows"), 401, "not_authenticated")
