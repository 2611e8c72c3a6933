"""The section ``[metrics]``, and where it lets the server listen."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, NamedTuple

import msgspec

from trireme_collector._toml_checker import Unfit

__all__ = ["Listen", "MetricsConfig", "parse_listen"]

_MAX_PATH_BYTES = 107  # sun_path of linux/un.h, with its final NUL
_EXPECTED = '"127.0.0.1:9464", "[::1]:9464" or "unix:/run/trireme/metrics.sock"'


class Listen(NamedTuple):
    """Where a server listens: a path, or an address and a port."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_local(self) -> bool:
        """Whether only this host can connect."""
        return bool(self.path) or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        """Write it as the configuration does."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> Listen:
    """Read where to listen; names are not looked up, but for ``localhost``.

    Raises:
        ValueError: It is neither an address with a port nor an absolute path after ``unix:``.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        size = len(path.encode("utf-8", "surrogateescape"))
        if not path.startswith("/") or "\0" in path or size > _MAX_PATH_BYTES:
            msg = f"an absolute path of at most {_MAX_PATH_BYTES} bytes after unix:"
            raise ValueError(msg)
        return Listen(path=path)
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port[:6]) > 65_535:
        raise ValueError(_EXPECTED)
    if host == "localhost":
        host = "127.0.0.1"
    is_bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if is_bracketed else host)
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if is_bracketed != (address.version == 6):
        raise ValueError(_EXPECTED)
    return Listen(host=str(address), port=int(port))


def _check_listen(value: object) -> object:
    try:
        if value:
            parse_listen(str(value))
    except ValueError as error:
        raise Unfit(str(error)) from error
    return value


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where metrics and health can be read.

    Attributes:
        listen: ``127.0.0.1:9464``, an IPv6 address in brackets, or ``unix:`` and an absolute path.
            Without it there is no server.
        allow_remote: Let other hosts connect, where `listen` is not a loopback address. There is no
            encryption and no password.
        socket_mode: The permissions of the unix socket.
    """

    listen: Annotated[
        str, msgspec.Meta(extra={"validate": _check_listen, "expected": "an address or unix:PATH"})
    ] = ""
    allow_remote: bool = False
    socket_mode: Literal["0600", "0660"] = "0600"

    def __post_init__(self) -> None:
        """Refuse what would show the metrics to others by mistake.

        Raises:
            ValueError: Other hosts could connect, and that was not asked for.
        """
        if self.listen and not self.allow_remote and not parse_listen(self.listen).is_local:
            msg = f"a loopback address instead of {self.listen}, or allow_remote = true"
            raise ValueError(msg)
