"""The security identities that every cluster has, by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RESERVED_IDENTITIES"]

# Others are printed as numbers, 11 (encrypted overlay) and the well-known ones among them.
RESERVED_IDENTITIES: Mapping[int, str] = {
    0: "unknown",
    1: "host",
    2: "world",
    3: "unmanaged",
    4: "health",
    5: "init",
    6: "remote-node",
    7: "kube-apiserver",
    8: "ingress",
    9: "world-ipv4",
    10: "world-ipv6",
}
