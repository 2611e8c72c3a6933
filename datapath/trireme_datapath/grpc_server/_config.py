"""Where services listen, and what their clients may cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec

from trireme_collector.errors import ConfigError
from trireme_collector.strict_toml import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_PATH_BYTES", "Address", "ListenConfig", "parse_address"]

MAX_PATH_BYTES: Final = 84
"""``sun_path`` of linux/un.h has 108; a socket is made in a directory beside its place first."""
_MAX_PORT: Final = 65_535


class Address(NamedTuple):
    """Where to listen, or to connect to.

    Attributes:
        path: The unix socket, or ``""``.
        host: The host, if it is no unix socket.
        port: Its port.
    """

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        """Write it as in a configuration."""
        if self.path:
            return f"unix:{'//' if self.path.startswith('/') else ''}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _check_address(value: object) -> object:
    try:
        parse_address(str(value))
    except ValueError as error:
        raise Unfit("unix:///PATH, HOST:PORT or [IPV6]:PORT") from error
    return value


_ADDRESS = msgspec.Meta(extra={"validate": _check_address, "expected": "unix:///PATH or HOST:PORT"})


class ListenConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a service listens. Several services may share an address.

    Attributes:
        listen: The addresses, each ``unix:///PATH`` or ``HOST:PORT``; the latter need a
            certificate. Nothing is opened without one.
        group: The group, by name or number, that may open unix sockets besides their owner.
        tls_certificate_file: The certificate for ``HOST:PORT``, with its chain, PEM.
        tls_key_file: Its key, PEM.
        tls_client_ca_file: The authorities whose clients are let in, PEM. Without it, everybody
            who reaches the port is.
        max_streams: How many calls may be under way at once on each address.
    """

    listen: list[Annotated[str, _ADDRESS]] = []
    group: Annotated[str, msgspec.Meta(max_length=64)] = ""
    tls_certificate_file: str = ""
    tls_key_file: str = ""
    tls_client_ca_file: str = ""
    max_streams: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 256

    def addresses(self, section: str, resolve: Callable[[str], Path] = Path) -> list[Address]:
        """Read the addresses.

        Args:
            section: Where they stand, for messages.
            resolve: Gives a path as seen from the configuration file.

        Raises:
            ConfigError: One of them is none.
        """
        found = []
        for text in self.listen:
            try:
                address = parse_address(text)
                if address.path:
                    address = Address(path=_checked(str(resolve(address.path))))
                elif not (self.tls_certificate_file and self.tls_key_file):
                    raise ValueError(
                        "whoever reaches a port could read everything: set tls_certificate_file"
                        " and tls_key_file, or listen on unix:///PATH"
                    )
            except ValueError as error:
                raise ConfigError(f"[{section}] listen {text!r}: {error}") from error
            found.append(address)
        return found


def parse_address(text: str) -> Address:
    """Read an address: ``unix:///path``, ``unix:path``, a path, ``host:port`` or ``tls://...``.

    Raises:
        ValueError: It is none; the message says what is wrong.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if path.startswith("//"):
            path = path[2:]
            if not path.startswith("/"):
                raise ValueError("expected three slashes, unix:///PATH")
        return Address(path=_checked(path))
    if text.startswith("/"):
        return Address(path=_checked(text))
    host, colon, port = text.removeprefix("tls://").rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("write an IPv6 address in brackets: [::1]:4244")
    if not colon or not host or not (port.isascii() and port.isdigit()):
        raise ValueError("expected unix:///PATH or HOST:PORT")
    if int(port) > _MAX_PORT:
        raise ValueError(f"port {port} is above {_MAX_PORT}")
    return Address(host=host, port=int(port))


def _checked(path: str) -> str:
    size = len(path.encode("utf-8", "surrogateescape"))
    if not path or "\0" in path or size > MAX_PATH_BYTES:
        raise ValueError(f"expected a path of 1 to {MAX_PATH_BYTES} bytes")
    return path
