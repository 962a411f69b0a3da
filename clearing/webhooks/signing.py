"""
Signatures as Standard Webhooks has them: HMAC-SHA256 over id, moment and body.

An endpoint's secret is derived from the key of the deployment, the endpoint and a version, so that none is
stored; while one is being replaced, both sign.
"""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta

from django.conf import settings

from clearing.models import WebhookEndpoint

OVERLAP = timedelta(days=7)
PREFIX = "whsec_"


def secret(endpoint: WebhookEndpoint, *, version: int | None = None) -> str:
    """Return the endpoint's secret as its owner enters it, ``whsec_…``."""
    key = _key(endpoint, endpoint.secret_version if version is None else version)
    return PREFIX + base64.b64encode(key).decode()


def rotate(endpoint: WebhookEndpoint, *, at: datetime) -> str:
    """Make a new secret and return it; the one before signs as well for OVERLAP."""
    endpoint.secret_version += 1
    endpoint.previous_until = at + OVERLAP
    endpoint.save(update_fields=["secret_version", "previous_until"])
    return secret(endpoint)


def headers(endpoint: WebhookEndpoint, *, event_id: str, body: bytes, at: datetime) -> dict[str, str]:
    """Return the headers of a delivery: its id, its moment, and a signature of each valid secret."""
    moment = str(int(at.timestamp()))
    versions = [endpoint.secret_version]
    if endpoint.previous_until is not None and at < endpoint.previous_until:
        versions.append(endpoint.secret_version - 1)
    signed = f"{event_id}.{moment}.".encode() + body
    signatures = [
        "v1," + base64.b64encode(hmac.digest(_key(endpoint, version), signed, "sha256")).decode()
        for version in versions
    ]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": moment,
        "webhook-signature": " ".join(signatures),
        "content-type": "application/json",
        "user-agent": "clearing-engine",
    }


def _key(endpoint: WebhookEndpoint, version: int) -> bytes:
    text = f"webhook {endpoint.pk} {version}".encode()
    return hmac.digest(settings.WEBHOOK_KEY.encode(), text, hashlib.sha256)
