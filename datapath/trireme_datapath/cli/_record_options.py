"""What the commands of `record` share: where the recorder is, and how to be let in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.recorder._grpc_client import RecorderClient

__all__ = ["DEFAULT_SERVER", "client_of", "server_options"]

_F = TypeVar("_F", bound="Callable[..., Any]")

# Written out, because the constant costs imports at every --help; a test compares them.
DEFAULT_SERVER = "unix:///run/trireme-collector/recorder.sock"

_OPTIONS = (
    click.option(
        "--server",
        metavar="ADDRESS",
        envvar="TRIREME_RECORDER",
        help=f"The recorder: unix:///PATH or HOST:PORT.  [default: {DEFAULT_SERVER}]",
    ),
    click.option(
        "--tls-ca-cert-file",
        metavar="FILE",
        help="With HOST:PORT: the authorities of the recorder's certificate, PEM.",
    ),
    click.option(
        "--tls-client-cert-file", metavar="FILE", help="With HOST:PORT: our certificate, PEM."
    ),
    click.option("--tls-client-key-file", metavar="FILE", help="With HOST:PORT: its key, PEM."),
    click.option(
        "--tls-server-name",
        metavar="NAME",
        default="",
        help="The name in the recorder's certificate, if it is not HOST.",
    ),
)


def server_options(command: _F) -> _F:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def client_of(
    server: str | None,
    *,
    tls_ca_cert_file: str | None,
    tls_client_cert_file: str | None,
    tls_client_key_file: str | None,
    tls_server_name: str,
) -> RecorderClient:
    """Make the client of a command."""
    from trireme_datapath.grpc_server import require_grpc

    require_grpc()
    from trireme_datapath.recorder._grpc_client import ClientTls, RecorderClient

    given = (tls_ca_cert_file, tls_client_cert_file, tls_client_key_file)
    tls = None
    if any(given):
        authority, certificate, key = given
        if not (authority and certificate and key):
            raise click.UsageError(
                "TLS needs all of --tls-ca-cert-file, --tls-client-cert-file and"
                " --tls-client-key-file."
            )
        tls = ClientTls(
            authority=authority, certificate=certificate, key=key, server_name=tls_server_name
        )
    return RecorderClient(server or DEFAULT_SERVER, tls)
