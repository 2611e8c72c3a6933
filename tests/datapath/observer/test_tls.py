"""An observer on TCP: with certificates, and only with those."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from trireme_collector.control import SocketBusyError
from trireme_collector.errors import ConfigError
from trireme_datapath.grpc_server import Address
from trireme_datapath.observer.config import ObserverConfig

pytest.importorskip("grpc")
trustme = pytest.importorskip("trustme")

from trireme_datapath.agent._services import AgentServices  # noqa: E402  after the extra
from trireme_datapath.observer._grpc_client import (  # noqa: E402
    ClientTls,
    ObserverClient,
    ObserverError,
)

if TYPE_CHECKING:
    from pathlib import Path


class Files:
    """An authority, a server's certificate and a client's."""

    def __init__(self, path: Path) -> None:
        authority = trustme.CA()
        self.ca, self.server, self.key, self.client, self.client_key = (
            str(path / name) for name in ("ca", "server", "key", "client", "client_key")
        )
        server = authority.issue_cert("toy.example", "127.0.0.1")
        client = authority.issue_cert("client.example")
        authority.cert_pem.write_to_path(self.ca)
        server.cert_chain_pems[0].write_to_path(self.server)
        server.private_key_pem.write_to_path(self.key)
        client.cert_chain_pems[0].write_to_path(self.client)
        client.private_key_pem.write_to_path(self.client_key)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def serve(files: Files, port: int, *, mutual: bool) -> AgentServices:
    config = ObserverConfig(
        listen=[f"127.0.0.1:{port}"],
        tls_certificate_file=files.server,
        tls_key_file=files.key,
        tls_client_ca_file=files.ca if mutual else "",
    )
    services = AgentServices(config, node_name="host")
    services.open()
    return services


def test_a_server_with_a_certificate(files: Files) -> None:
    port = free_port()
    services = serve(files, port, mutual=False)
    try:
        tls = ClientTls(ca_file=files.ca)
        with ObserverClient(Address(host="127.0.0.1", port=port), tls) as client:
            assert client.ask("ServerStatus")["max_flows"] == "4095"
        named = ClientTls(ca_file=files.ca, server_name="toy.example")
        with ObserverClient(Address(host="127.0.0.1", port=port), named) as client:
            assert client.ask("GetNodes")
        with (
            ObserverClient(Address(host="127.0.0.1", port=port)) as client,
            pytest.raises(ObserverError),
        ):
            client.ask("ServerStatus")
        with pytest.raises(SocketBusyError, match=r"\[observer\] another process has 127.0.0.1"):
            serve(files, port, mutual=False)
    finally:
        services.close()


def test_a_server_that_wants_to_know_its_clients(files: Files) -> None:
    port = free_port()
    services = serve(files, port, mutual=True)
    address = Address(host="127.0.0.1", port=port)
    try:
        known = ClientTls(
            ca_file=files.ca, certificate_file=files.client, key_file=files.client_key
        )
        with ObserverClient(address, known) as client:
            assert client.ask("ServerStatus")
        with (
            ObserverClient(address, ClientTls(ca_file=files.ca)) as client,
            pytest.raises(ObserverError),
        ):
            client.ask("ServerStatus")
    finally:
        services.close()


def test_a_certificate_that_is_not_there(files: Files) -> None:
    config = ObserverConfig(
        listen=["127.0.0.1:1"], tls_certificate_file="/none", tls_key_file=files.key
    )
    with pytest.raises(ConfigError, match=r"\[observer\] /none cannot be read"):
        AgentServices(config, node_name="host").open()
    with pytest.raises(ConfigError, match="/none cannot be read"):
        ObserverClient(Address(host="127.0.0.1", port=1), ClientTls(ca_file="/none"))


def test_files_that_are_no_certificates(files: Files) -> None:
    config = ObserverConfig(
        listen=[f"127.0.0.1:{free_port()}"],
        tls_certificate_file=files.key,
        tls_key_file=files.key,
    )
    with pytest.raises(ConfigError, match="look at the certificate and its key"):
        AgentServices(config, node_name="host").open()


def test_an_address_of_somebody_else(files: Files) -> None:
    config = ObserverConfig(
        listen=["192.0.2.77:4244"], tls_certificate_file=files.server, tls_key_file=files.key
    )
    with pytest.raises(ConfigError, match=r"cannot listen on 192.0.2.77:4244: cannot assign"):
        AgentServices(config, node_name="host").open()
