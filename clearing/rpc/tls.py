"""Mutual TLS of the gRPC door: both sides show a certificate, or nothing is answered."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from clearing_project.errors import Unavailable


class TlsIncomplete(Unavailable):
    """Some of the three files of mutual TLS are named, and not all."""

    code = "tls_incomplete"
    fields = ("missing",)
    message = "Mutual TLS needs GRPC_TLS_CERT, GRPC_TLS_KEY and GRPC_TLS_CLIENT_CA; missing: {missing}."


class TlsUnreadable(Unavailable):
    """A file of mutual TLS cannot be read, or holds none of what it should."""

    code = "tls_unreadable"
    fields = ("path", "reason")
    message = "The file {path} cannot be used for TLS: {reason}"


@dataclass(frozen=True)
class Files:
    """PEM files: the server's chain and key, the authority that signs clients; all empty: no TLS."""

    certificate: str = ""
    key: str = ""
    client_authority: str = ""

    def credentials(self) -> Any:
        """
        Return the server's credentials; None if no file is named.

        Raises:
            TlsIncomplete, TlsUnreadable
        """
        named = {
            "GRPC_TLS_CERT": self.certificate,
            "GRPC_TLS_KEY": self.key,
            "GRPC_TLS_CLIENT_CA": self.client_authority,
        }
        if not any(named.values()):
            return None
        if missing := [name for name, path in named.items() if not path]:
            raise TlsIncomplete(", ".join(missing))
        certificate, key, authority = (_pem(path) for path in named.values())
        return grpc.ssl_server_credentials(
            [(key, certificate)], root_certificates=authority, require_client_auth=True
        )


def _pem(path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as trouble:
        raise TlsUnreadable(path, trouble.strerror or str(trouble)) from trouble
    if b"-----BEGIN " not in content:
        raise TlsUnreadable(path, "it is not PEM.")
    return content
