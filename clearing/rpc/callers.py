"""Who calls, and which methods a role may call. What is not listed is refused."""

from contextvars import ContextVar
from dataclasses import dataclass

from clearing import access
from clearing.access import EVERYONE, OPERATORS, STAFF
from clearing.models.access import Role
from clearing.rpc.errors import Unauthenticated
from clearing_project.errors import Denied

METHODS: dict[str, frozenset[Role]] = {
    "GetCurrentWindow": EVERYONE,
    "GetWindowStatus": EVERYONE,
    "ForceCloseWindow": OPERATORS,
    "OpenNewWindow": OPERATORS,
    "ProcessWindow": OPERATORS,
    "GetProcessingResult": EVERYONE,
    "StreamWindowUpdates": EVERYONE,
    "StreamSettlementStatus": EVERYONE,
    "TriggerEmergencyClearing": OPERATORS,
    "RollbackWindow": OPERATORS,
    "GetOperationStatus": STAFF,  # its error may name another participant's shortfall
}


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
    user_id: int

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
    found = access.find(token.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise Unauthenticated
    return Caller(found.user.get_username(), Role(found.role), found.participant_id, found.user_id)


def admit(caller: Caller, method: str) -> None:
    """
    Refuse a method that the caller's role may not call.

    Raises:
        RoleMissing
    """
    if caller.role not in METHODS.get(method, frozenset()):
        raise RoleMissing(caller.role.value, method)
