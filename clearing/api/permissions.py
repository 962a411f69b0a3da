"""What a role may do: each view says it per method, and what is not said is denied."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from clearing.models import ApiToken
from clearing.models.access import Role
from clearing_project.errors import Denied
from settlement import participants
from settlement.models import Participant
from settlement.participants import UnknownParticipant


class RoleMissing(Denied):
    """The caller's role does not allow this."""

    code = "permission_denied"
    fields = ("role", "allowed")
    message = "The role {role} may not do this; it takes {allowed}."


class DenyByDefault(BasePermission):
    """
    Admit the roles that the view's ``access`` names for the method, and nobody else.

    A method that the view does not have passes: it is answered as such, to every role alike.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        """
        Tell whether the caller may; a caller without a token is asked for one.

        Raises:
            RoleMissing
        """
        access: dict[str, frozenset[Role]] = getattr(view, "access", {})
        token, method = request.auth, (request.method or "").upper()
        if not isinstance(token, ApiToken):
            return False
        if method not in view.allowed_methods:
            return True
        roles = access.get("GET" if method == "HEAD" else method, frozenset())
        if token.role not in roles:
            raise RoleMissing(token.role, ", ".join(sorted(roles)) or "none")
        return True


def caller(request: Request) -> ApiToken:
    """Return the token of who asks."""
    assert isinstance(request.auth, ApiToken), "work is done for bearers of tokens alone"
    return request.auth


def own_participant(request: Request) -> Participant | None:
    """Return the participant whose figures alone the caller may see; None: it may see all."""
    assert isinstance(request.auth, ApiToken), "a view without a token asked whose it is"
    return request.auth.participant


def member(request: Request, code: str) -> Participant:
    """
    Return the participant with this code; to a participant there is none but itself.

    Raises:
        UnknownParticipant
    """
    own = own_participant(request)
    if not code.isprintable() or (own is not None and own.code != code):
        raise UnknownParticipant(code)
    return participants.get(code)
