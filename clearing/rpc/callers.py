"""Who calls, and which methods a role may call. What is not listed is refused."""

from contextvars import ContextVar
from dataclasses import dataclass

from clearing import access
from clearing.models import ApiToken
from clearing.models.access import Role
from clearing.rpc.errors import Unauthenticated
from clearing_project.errors import Denied

READERS = frozenset(Role)
STAFF = frozenset({Role.OPERATOR, Role.APPROVER, Role.AUDITOR})  # see every participant's figures
OPERATORS = frozenset({Role.OPERATOR})

METHODS: dict[str, frozenset[Role]] = {
    "GetCurrentWindow": READERS,
    "GetWindowStatus": READERS,
    "ForceCloseWindow": OPERATORS,
    "OpenNewWindow": OPERATORS,
    "ProcessWindow": OPERATORS,
    "GetProcessingResult": READERS,
    "StreamWindowUpdates": READERS,
    "StreamSettlementStatus": READERS,
    "TriggerEmergencyClearing": OPERATORS,
    "RollbackWindow": OPERATORS,
    "GetOperationStatus": STAFF,  # its error may name another participant's shortfall
}

TOKEN_MAX = 512


class RoleMissing(Denied):
    """The caller's role does not allow this method."""

    code = "permission_denied"
    fields = ("role", "method")
    message = "The role {role} may not call {method}."


@dataclass(frozen=True, slots=True)
class Caller:
    """The bearer of a token; a participant sees only what is its own."""

    name: str
    role: Role
    participant_id: int | None

    @property
    def sees_all(self) -> bool:
        """Whether every participant's figures are shown."""
        return self.role in STAFF


CALLER: ContextVar[Caller] = ContextVar("caller")


def authenticate(authorization: str) -> Caller:
    """
    Return the bearer of the token in *authorization*, ``Bearer TOKEN``.

    Raises:
        Unauthenticated
    """
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not 0 < len(token) <= TOKEN_MAX:
        raise Unauthenticated
    found = (
        ApiToken.objects.select_related("user")
        .filter(digest=access.digest(token), revoked_at=None, user__is_active=True)
        .first()
    )
    if found is None:
        raise Unauthenticated
    return Caller(found.user.get_username(), Role(found.role), found.participant_id)


def admit(caller: Caller, method: str) -> None:
    """
    Refuse a method that the caller's role may not call.

    Raises:
        RoleMissing
    """
    if caller.role not in METHODS.get(method, frozenset()):
        raise RoleMissing(caller.role.value, method)
