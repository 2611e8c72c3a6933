"""Options that are IP addresses, checked when the configuration is read."""

from __future__ import annotations

import ipaddress
from typing import Annotated, TypeAlias

import msgspec

from trireme_collector.strict_toml import Unfit

__all__ = ["IpAddress"]


def _check(value: object) -> None:
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        raise Unfit("an IP address", found="another text") from None


IpAddress: TypeAlias = Annotated[str, msgspec.Meta(extra={"validate": _check})]
"""The text of an address of either version."""
