"""What a policy said about a connection, and what made it say so."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AUTH_TYPES",
    "MATCH_TYPES",
    "MATCH_TYPES_1_9",
    "PolicyMatchType",
    "auth_type_name",
    "get_policy_action_string",
]


class PolicyMatchType(IntEnum):
    """Which part of a policy entry a connection matched."""

    NONE = 0
    L3_ONLY = 1
    L3_L4 = 2
    L4_ONLY = 3
    ALL = 4
    L3_PROTO = 5
    PROTO_ONLY = 6


MATCH_TYPES: Mapping[int, str] = {
    PolicyMatchType.NONE: "none",
    PolicyMatchType.L3_ONLY: "L3-Only",
    PolicyMatchType.L3_L4: "L3-L4",
    PolicyMatchType.L4_ONLY: "L4-Only",
    PolicyMatchType.ALL: "all",
    PolicyMatchType.L3_PROTO: "L3-Proto",
    PolicyMatchType.PROTO_ONLY: "Proto-Only",
}

MATCH_TYPES_1_9: Mapping[int, str] = {
    number: text for number, text in MATCH_TYPES.items() if number <= PolicyMatchType.ALL
}

AUTH_TYPES: Mapping[int, str] = {
    0: "disabled",
    1: "spire",
    2: "test-always-fail",
}


def auth_type_name(number: int) -> str:
    """Name a way of authentication; an unknown one by its number."""
    return AUTH_TYPES.get(number) or f"Unknown-auth-type-{number}"


def get_policy_action_string(verdict: int, audit: bool = False) -> str:  # noqa: FBT001, FBT002  the order of the original
    """Say what a verdict does: ``allow``, ``deny``, ``redirect``, or ``audit``.

    Args:
        verdict: Below zero the drop reason, above zero the proxy port.
        audit: Whether the packet only passed because policies are being tried out.
    """
    if audit:
        return "audit"
    if verdict < 0:
        return "deny"
    return "redirect" if verdict > 0 else "allow"
