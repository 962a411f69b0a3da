"""The OpenAPI document: what each view says of itself, with every problem it may answer."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from django.db.models import TextChoices
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from clearing.api import conditional
from clearing.api.errors import (
    BodyTooLarge,
    InternalError,
    LengthRequired,
    MediaTypeUnsupported,
    NotAcceptable,
    TooManyRequests,
    Unauthenticated,
)
from clearing.api.idempotency import HEADER
from clearing.api.pagination import LIMIT, LIMIT_MAX, CursorInvalid
from clearing.api.parameters import ParameterInvalid, ParameterUnknown
from clearing.api.permissions import RoleMissing
from clearing.api.problems import MEDIA_TYPE, document, status_of
from clearing.decoding import BodyInvalid, BodyMalformed
from clearing.repeats import KEY_MAX, IdempotencyKeyConflict, IdempotencyKeyInvalid
from clearing_project.errors import ClearingError, Unavailable

Method = TypeVar("Method", bound=Callable[..., Any])
Errors = Sequence[type[ClearingError]]

REF = "#/components/schemas/{name}"
EVERYWHERE: Errors = (
    Unauthenticated,
    RoleMissing,
    NotAcceptable,
    ParameterUnknown,
    ParameterInvalid,
    TooManyRequests,
    Unavailable,
    InternalError,
)
OF_A_BODY: Errors = (
    BodyMalformed,
    BodyInvalid,
    BodyTooLarge,
    LengthRequired,
    MediaTypeUnsupported,
)
OF_A_KEY: Errors = (IdempotencyKeyInvalid, IdempotencyKeyConflict)
OF_A_LIST: Errors = (CursorInvalid,)
SAMPLES: dict[str, Any] = {
    "window_id": 17,
    "region": "Europe",
    "operation_id": "0f6e1c1e-6f0b-4d0c-9a77-6c2f5a1d3e42",
    "participant": "ALPHBEBB",
    "bytes_max": 16 * 1024 * 1024,
    "length_max": 500,
    "items": [],
    "rejected": 1,
    "items_max": 10_000,
    "status": "Open",
    "cutoff_at": "2026-03-10T14:00:00Z",
    "role": "auditor",
    "allowed": "operator",
    "limit": 6000,
    "retry_after_seconds": 17,
}
PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. Beside these members a problem carries the error's own fields.",
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:clearing:problem:unknown_window"]},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "stable; listed in docs/errors.md"},
    },
    "required": ["type", "title", "status", "detail", "code"],
    "additionalProperties": True,
}
_shown: dict[str, Any] = {}


class Bearer(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The security scheme of every view that asks for a token."""

    target_class = "clearing.api.authentication.TokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Describe the header."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `manage.py issue_token NAME --role ROLE`.",
        }


def described(
    name: str,
    summary: str,
    answer: Any,
    *,
    status: int = 200,
    body: dict[str, Any] | None = None,
    parameters: Sequence[OpenApiParameter] = (),
    errors: Errors = (),
    is_list: bool = False,
    is_open: bool = False,
    is_tagged: bool = False,
    examples: Sequence[OpenApiExample] = (),
    more: dict[int, Any] | None = None,
    tag: str,
) -> Callable[[Method], Method]:
    """
    Describe a method: its answer, and its problems by class with an example of each code.

    Args:
        body: its schema by media type; without If-Match it may bear an Idempotency-Key.
        is_tagged: the answer has an ETag; with a body the request names it in If-Match.
    """
    expected = [] if is_open else [*EVERYWHERE, *errors]
    if body is not None:
        expected += [*OF_A_BODY, *(() if is_tagged else OF_A_KEY)]
        parameters = [*parameters, IF_MATCH if is_tagged else IDEMPOTENCY_KEY]
    if is_tagged:
        parameters = [*parameters, ETAG, *([] if body else [IF_NONE_MATCH])]
    if is_list:
        expected += OF_A_LIST
        parameters = [*parameters, CURSOR, LIMITED]
    responses: dict[Any, Any] = {status: OpenApiResponse(ref(answer), description=summary)}
    responses |= {other: OpenApiResponse(ref(kind)) for other, kind in (more or {}).items()}
    if is_tagged and body is None:
        responses[304] = OpenApiResponse(description="unchanged since the answer with this ETag")
    decorate: Callable[[Method], Method] = extend_schema(
        operation_id=name,
        summary=summary,
        description=summary,
        request=body,
        parameters=list(parameters),
        responses=responses | _problems(expected),
        examples=list(examples),
        tags=[tag],
    )
    return decorate


def ref(kind: Any) -> dict[str, Any]:
    """Refer to the schema of a structure, or of one of several; the document's end holds them."""
    if isinstance(kind, tuple):
        return {"anyOf": [ref(each) for each in kind]}
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=REF, schema_hook=_enumeration)
    _shown[str(kind)] = kind
    return dict(schema)


def query(name: str, description: str, *, enum: Sequence[str] = (), kind: Any = OpenApiTypes.STR) -> Any:
    """Describe a query parameter."""
    return OpenApiParameter(name, kind, description=description, enum=list(enum) or None)


def expand(*names: str) -> Any:
    """Describe the parameter that asks for what belongs to a thing."""
    kind = {"type": "string", "pattern": f"^({'|'.join(names)})(,({'|'.join(names)}))*$"}
    return OpenApiParameter("expand", kind, description=f"comma-separated, of {', '.join(names)}")


def add_components(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Put the structures referred to into the document; called by the generator at its end."""
    _refs, components = msgspec.json.schema_components(
        list(_shown.values()), ref_template=REF, schema_hook=_enumeration
    )
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(components)
    schemas["Problem"] = PROBLEM
    return result


def _enumeration(kind: type) -> dict[str, Any]:
    """Describe Django's choices, which msgspec takes for a type of its own."""
    if issubclass(kind, TextChoices):
        return {"type": "string", "enum": kind.values}
    raise NotImplementedError(kind)


def _problems(kinds: Errors) -> dict[tuple[int, str], OpenApiResponse]:
    by_status: dict[int, list[type[ClearingError]]] = defaultdict(list)
    for kind in dict.fromkeys(kinds):
        by_status[status_of(kind)].append(kind)
    return {
        (status, MEDIA_TYPE): OpenApiResponse(
            {"$ref": REF.format(name="Problem")},
            description="; ".join(f"`{kind.code}`" for kind in found),
            examples=[
                OpenApiExample(kind.code, value=_example(kind), media_type=MEDIA_TYPE) for kind in found
            ],
        )
        for status, found in sorted(by_status.items())
    }


def _example(kind: type[ClearingError]) -> dict[str, Any]:
    return {**document(kind(*(SAMPLES.get(name, "…") for name in kind.fields))), "code": kind.code}


IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": KEY_MAX},
    OpenApiParameter.HEADER,
    description="The same key and body are answered alike and done once; another body is refused.",
)
TAG = {"type": "string", "examples": ['"5f0c…"']}
ETAG = OpenApiParameter(
    conditional.ETAG, TAG, OpenApiParameter.HEADER, response=[200], description="of what is answered"
)
IF_NONE_MATCH = OpenApiParameter(
    conditional.IF_NONE_MATCH,
    TAG,
    OpenApiParameter.HEADER,
    description="the ETag of an earlier answer: what has not changed since is not sent again",
)
IF_MATCH = OpenApiParameter(
    conditional.IF_MATCH,
    TAG,
    OpenApiParameter.HEADER,
    required=True,
    description="the ETag of what was read; if that has changed nothing is done. `*` takes what is there",
)
CURRENCY = query("currency", "in this currency only")
CURSOR = query("cursor", "`next` of the page before")
LIMITED = OpenApiParameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT},
    description="rows on a page",
)
