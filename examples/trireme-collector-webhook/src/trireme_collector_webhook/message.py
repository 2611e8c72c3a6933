"""Flows as the text of one message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.formats import escape_text, protocol_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector import FlowRecord

__all__ = ["compose"]

_LONGEST_FIELD = 60


def compose(flows: Sequence[FlowRecord], max_lines: int) -> str:
    """Write the text of a message: a head, a line for each flow, and how many are left out."""
    total = sum(max(flow.count, 1) for flow in flows)
    lines = [f"{total} {'flow' if total == 1 else 'flows'} on {_safe(_instance(flows[0]))}"]
    lines += map(_line, flows[:max_lines])
    left = len(flows) - max_lines
    if left > 0:
        lines.append(f"and {left} more records")
    return "\n".join(lines)


def _line(flow: FlowRecord) -> str:
    target = f"{_safe(flow.destination.ip)}:{flow.destination.port}"
    times = f" x{flow.count}" if flow.count > 1 else ""
    why = _safe(flow.drop_reason or flow.policy_id)
    number = flow.sequence if isinstance(flow.sequence, int) else 0
    protocol = protocol_name(flow.l4_protocol)
    action = flow.action.name.lower()
    return f"{action} {_safe(flow.source.ip)} -> {target}/{protocol}{times} {why} #{number}"


def _instance(flow: FlowRecord) -> str:
    return flow.instance if isinstance(flow.instance, str) else ""


def _safe(text: str) -> str:
    """Make a text harmless: no control character, no mention, no link."""
    short = text if len(text) <= _LONGEST_FIELD else text[: _LONGEST_FIELD - 1] + "…"
    return escape_text(short).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
