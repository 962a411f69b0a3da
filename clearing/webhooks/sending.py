"""
Send one delivery: to a public address alone, without following anything.

The name is resolved here, once, and the connection goes to the address that was checked: a name that answers
differently the second time leads nowhere else. TLS still holds the certificate to the name.
"""

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpcore
from django.conf import settings

from clearing_project.errors import Invalid

TIMEOUT_SECONDS = 10.0
ANSWER_BYTES = 1024


class AddressRefused(Invalid):
    """A webhook may not go there."""

    code = "address_refused"
    fields = ("host", "reason")
    message = "{host} is no address for a webhook: {reason}."


def check(url: str) -> None:
    """
    Hold an endpoint's URL to what may be called; the name itself is resolved when it is.

    Raises:
        AddressRefused
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" and not settings.WEBHOOKS_ALLOW_PRIVATE:
        raise AddressRefused(host, "it is not https")
    if not host or parts.username or parts.password:
        raise AddressRefused(host, "it names no host, or a user")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return
    if not settings.WEBHOOKS_ALLOW_PRIVATE and not _is_public(literal):
        raise AddressRefused(host, "it is not public")


def send(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """
    Post *body*; return the status of the answer, whatever it is. A redirect is an answer, not a way.

    Raises:
        AddressRefused, OSError, httpcore's errors of network, protocol and time
    """
    check(url)
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT_SECONDS)
    with (
        httpcore.ConnectionPool(network_backend=_Public()) as pool,
        pool.stream(
            "POST", url, headers=list(headers.items()), content=body, extensions={"timeout": timeouts}
        ) as answer,
    ):
        return int(answer.status)


class _Public(httpcore.NetworkBackend):
    """Connects to addresses that are public, and to no other."""

    def __init__(self) -> None:
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check every address, and connect to the first."""
        found = [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        if not settings.WEBHOOKS_ALLOW_PRIVATE:
            for address in found:
                if not _is_public(ipaddress.ip_address(address.partition("%")[0])):
                    raise AddressRefused(host, "it leads to an address that is not public")
        return self._network.connect_tcp(found[0], port, timeout, local_address, socket_options)


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_global and not mapped.is_multicast)
