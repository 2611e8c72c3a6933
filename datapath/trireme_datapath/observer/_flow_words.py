"""The words that ``hubble observe`` has for types, verdicts and identities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from trireme_datapath.monitor.tables.drop_reasons import DROP_REASONS
from trireme_datapath.monitor.tables.identities import RESERVED_IDENTITIES
from trireme_datapath.monitor.tables.message_types import MessageType
from trireme_datapath.monitor.tables.traces import trace_observation_point
from trireme_datapath.monitor.tables.verdicts import MATCH_TYPES
from trireme_datapath.observer._fields import child, integer, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    Flow: TypeAlias = Mapping[str, object]

__all__ = ["flow_type", "identity_text", "verdict_text"]

_BYTE: Final = 0xFF
_SOCKET_POINTS: Final[Mapping[object, str]] = {
    "SOCK_XLATE_POINT_POST_DIRECTION_FWD": "post-xlate-fwd",
    "SOCK_XLATE_POINT_POST_DIRECTION_REV": "post-xlate-rev",
    "SOCK_XLATE_POINT_PRE_DIRECTION_FWD": "pre-xlate-fwd",
    "SOCK_XLATE_POINT_PRE_DIRECTION_REV": "pre-xlate-rev",
}
_COLORS: Final[Mapping[str, str]] = {
    "FORWARDED": "green",
    "REDIRECTED": "green",
    "DROPPED": "red",
    "ERROR": "red",
    "AUDIT": "yellow",
    "TRACED": "yellow",
    "TRANSLATED": "yellow",
}
# What a policy says has words of its own.
_DECISIONS: Final[Mapping[str, str]] = {
    "FORWARDED": "ALLOWED",
    "REDIRECTED": "ALLOWED",
    "DROPPED": "DENIED",
    "ERROR": "DENIED",
    "AUDIT": "AUDITED",
}
_DECIDED: Final[Mapping[str, str]] = {"ALLOWED": "allowed", "DENIED": "denied"}


def flow_type(flow: Flow) -> str:
    """Say what kind of event a flow was."""
    layer7 = child(flow, "l7")
    if layer7:
        return _layer7_type(layer7)
    event = child(flow, "event_type")
    kind, sub_type = integer(event, "type"), integer(event, "sub_type")
    match kind:
        case MessageType.TRACE:
            return trace_observation_point(sub_type & _BYTE)
        case MessageType.DROP:
            return DROP_REASONS.get(sub_type & _BYTE) or f"{sub_type & _BYTE}, 0"
        case MessageType.POLICY_VERDICT:
            matched = MATCH_TYPES.get(integer(flow, "policy_match_type"), "unknown")
            direction = flow.get("traffic_direction") or "TRAFFIC_DIRECTION_UNKNOWN"
            return f"policy-verdict:{matched} {direction}"
        case MessageType.CAPTURE:
            return str(flow.get("debug_capture_point") or "DBG_CAPTURE_POINT_UNKNOWN")
        case MessageType.TRACE_SOCK:
            point = flow.get("sock_xlate_point") or "SOCK_XLATE_POINT_UNKNOWN"
            return _SOCKET_POINTS.get(point, str(point))
    return "UNKNOWN"


def _layer7_type(layer7: Flow) -> str:
    kind = str(layer7.get("type") or "UNKNOWN_L7_TYPE").lower()
    if "dns" in layer7:
        return f"dns-{kind} {text(child(layer7, 'dns'), 'observation_source')}"
    for name in ("http", "kafka"):
        if name in layer7:
            return f"{name}-{kind}"
    return f"l7-{kind}"


def verdict_text(flow: Flow, *, policies: bool = False) -> tuple[str, str]:
    """Give the word for the verdict, and its colour or ``""``.

    Args:
        flow: The flow in its JSON form.
        policies: Whether to name the policies that decided.
    """
    verdict = str(flow.get("verdict") or "VERDICT_UNKNOWN")
    word = verdict
    if integer(child(flow, "event_type"), "type") == MessageType.POLICY_VERDICT:
        word = _DECISIONS.get(verdict, verdict)
        if policies:
            word += _policies_text(flow, _DECIDED.get(word, ""))
    return word, _COLORS.get(verdict, "")


def _policies_text(flow: Flow, decided: str) -> str:
    """Name the policies of the direction that allowed or denied; those without a kind are not."""
    direction = str(flow.get("traffic_direction", "")).lower()
    policies = flow.get(f"{direction}_{decided}_by")
    named = [
        f"{text(one, 'name')} ({text(one, 'kind')})"
        for one in (policies if isinstance(policies, list) else ())
        if isinstance(one, dict) and text(one, "name") and text(one, "kind")
    ]
    return f" BY {', '.join(named)}" if named else ""


def identity_text(identity: int) -> str:
    """Name an identity as it stands behind an endpoint."""
    name = RESERVED_IDENTITIES.get(identity)
    return f"({name})" if name else f"(ID:{identity})"
