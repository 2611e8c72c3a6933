"""Options that are addresses or names of hosts, checked when the configuration is read."""

from __future__ import annotations

import ipaddress
from typing import Annotated, TypeAlias

import msgspec

from trireme_collector.strict_toml import Unfit

__all__ = ["IpAddress", "check_host"]

_LONGEST_HOST = 255


def _check(value: object) -> None:
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        raise Unfit("an IP address", found="another text") from None


def check_host(value: object, *, protocol: str) -> None:
    """Refuse what is not the name or the address of a host alone.

    Args:
        value: The option, beside which ``transport`` and ``port`` are others.
        protocol: What messages call it.

    Raises:
        Unfit: It is a URL, has a user or a port, or is no text that could be a host.
    """
    # No value is repeated: what stands before an @ may be a password.
    expected = "the name or the address of a host"
    text = str(value)
    if "@" in text:
        raise Unfit(f"{expected}; {protocol} knows no user", found="a text with '@'")
    if "/" in text:
        raise Unfit(f"{expected}; set transport and port beside it", found="a URL or a path")
    if text.count(":") == 1:
        raise Unfit(f"{expected}; set port beside it", found="a text with ':'")
    if not text.isprintable() or " " in text or not 1 <= len(text) <= _LONGEST_HOST:
        raise Unfit(f"{expected}, at most 255 printable characters", found="another text")


IpAddress: TypeAlias = Annotated[str, msgspec.Meta(extra={"validate": _check})]
"""The text of an address of either version."""
