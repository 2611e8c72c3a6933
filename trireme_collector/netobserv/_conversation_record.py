"""What is given out about a conversation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import UNSET

from trireme_collector.netobserv._go_values import integral

if TYPE_CHECKING:
    from trireme_collector.netobserv._groups import Conversation
    from trireme_collector.netobserv._plan import Plan

__all__ = ["conversation_record"]


def conversation_record(plan: Plan, conversation: Conversation, kind: str) -> dict[str, object]:
    """Build a record: the key, what was added up, and what kind of record it is.

    Args:
        plan: Where everything stands.
        conversation: The conversation, which counts as reported from now on.
        kind: ``newConnection``, ``heartbeat`` or ``endConnection``.
    """
    strict = plan.is_strict
    as_held = plan.as_held
    record: dict[str, object] = {}
    for name, value in zip(plan.keys, conversation.keys, strict=True):
        if value is not UNSET:
            record[name] = as_held(name, value)
        elif strict:
            record[name] = None
    slots = conversation.slots
    for name, slot, is_copy, drops_zero in plan.outputs:
        value = slots[slot]
        if value is None:
            continue
        if is_copy:
            if drops_zero and value == 0 and type(value) in (int, float):
                continue
        elif type(value) is float:
            if math.isinf(value) and not strict:
                continue
            value = integral(value) if value - value == 0 else value
        if drops_zero and value == 0 and not is_copy:
            continue
        record[name] = value
    record["_HashId"] = conversation.text
    record["_RecordType"] = kind
    record["_IsFirst"] = not conversation.is_reported
    conversation.is_reported = True
    return record
