"""What every view of the API has."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.views import APIView

from clearing.api.rendering import JSON
from clearing.api.throttles import PerToken
from clearing.models.access import Role
from clearing_project import trace


class Door(APIView):
    """A view that says in ``access`` which roles may use which method; others are denied."""

    access: ClassVar[dict[str, frozenset[Role]]] = {}
    http_method_names = ["get", "head", "post", "put"]
    renderer_classes = (JSON,)
    throttle_classes = (PerToken,)
    parser_classes = ()  # bodies are read by ``bodies``

    def initial(self, request: Request, *args: object, **path: object) -> None:
        """Let every line of the request bear the ids that its address names, of a refusal as well."""
        trace.bind_ids(path)
        super().initial(request, *args, **path)


class OpenDoor(Door):
    """A view that asks for no token."""

    authentication_classes = ()
    permission_classes = ()
