"""Mutual TLS: who shows no certificate of the right authority gets no answer at all."""

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import trustme

from clearing.models.access import Role
from clearing.rpc.tls import Files, TlsIncomplete, TlsUnreadable
from clearing.states import Region
from clearing_project.stack import probes
from tests import factories
from tests.clearing.rpc.conftest import Running, issue
from tests.clearing.rpc.contract import Client

PATIENCE_SECONDS = 5

Credentials = Callable[[trustme.CA | None], grpc.ChannelCredentials]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the server and its clients."""
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Files:
    """The server's three files."""
    server = authority.issue_cert("127.0.0.1")
    paths = [str(tmp_path / name) for name in ("server.pem", "server.key", "ca.pem")]
    server.cert_chain_pems[0].write_to_path(paths[0])
    server.private_key_pem.write_to_path(paths[1])
    authority.cert_pem.write_to_path(paths[2])
    return Files(*paths)


@pytest.fixture
def secured(files: Files, django_db_serialized_rollback: None, transactional_db: None) -> Iterator[Running]:
    """A server under mutual TLS."""
    server = Running(files)
    yield server
    server.stop()


@pytest.fixture
def shown(authority: trustme.CA) -> Credentials:
    """A client that trusts the server and shows a certificate of the authority given, or none."""

    def make(signer: trustme.CA | None) -> grpc.ChannelCredentials:
        roots = authority.cert_pem.bytes()
        if signer is None:
            return grpc.ssl_channel_credentials(roots)
        own = signer.issue_cert("client.example")
        return grpc.ssl_channel_credentials(
            roots, own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes()
        )

    return make


def asked(channel: grpc.Channel, token: str) -> str:
    """Ask for the current window of a region; the status of the refusal, or the window's."""
    with channel:
        client = Client("", token, channel=channel)
        try:
            return str(
                client.GetCurrentWindow(region=factories.BY_HAND, timeout=PATIENCE_SECONDS).window.status
            )
        except grpc.RpcError as refusal:
            return str(refusal.code().name)


def test_a_client_with_a_certificate_and_a_token_is_answered(
    secured: Running, authority: trustme.CA, shown: Credentials
) -> None:
    factories.window(Region.AMERICAS)

    channel = grpc.secure_channel(secured.address, shown(authority))

    assert asked(channel, issue(Role.OPERATOR)) == "Open"


def test_a_certificate_is_no_token(secured: Running, authority: trustme.CA, shown: Credentials) -> None:
    assert asked(grpc.secure_channel(secured.address, shown(authority)), "nonsense") == "UNAUTHENTICATED"


def test_a_client_without_a_certificate_of_the_authority_is_refused(
    secured: Running, shown: Credentials
) -> None:
    token = issue(Role.OPERATOR)

    for channel in (
        grpc.secure_channel(secured.address, shown(None)),
        grpc.secure_channel(secured.address, shown(trustme.CA())),
        grpc.insecure_channel(secured.address),
    ):
        assert asked(channel, token) in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def test_the_probe_of_a_container_sees_a_secured_server(
    secured: Running, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRPC_TLS_CERT", "named")

    probes.grpc_health(secured.address)()

    with pytest.raises(OSError, match=r"SSL|EOF"):
        probes.grpc_health(running.address)()


@pytest.mark.parametrize("left_out", ["certificate", "key", "client_authority"])
def test_half_a_configuration_is_refused(left_out: str) -> None:
    named = {"certificate": "a", "key": "b", "client_authority": "c"} | {left_out: ""}

    with pytest.raises(TlsIncomplete, match="GRPC_TLS_"):
        Files(**named).credentials()


def test_a_file_that_is_not_there_or_no_certificate_is_refused(files: Files, tmp_path: Path) -> None:
    with pytest.raises(TlsUnreadable, match="No such file"):
        Files(str(tmp_path / "nowhere"), files.key, files.client_authority).credentials()

    (tmp_path / "empty").write_text("")
    with pytest.raises(TlsUnreadable, match="not PEM"):
        Files(files.certificate, files.key, str(tmp_path / "empty")).credentials()


def test_no_file_means_no_tls() -> None:
    assert Files().credentials() is None
