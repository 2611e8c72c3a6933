"""The types of messages: the first byte of each, and the name that filters know it by."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MESSAGE_NAMES", "MESSAGE_NAMES_1_9", "MessageType", "message_type_name"]


class MessageType(IntEnum):
    """The first byte of a message: below 129 from the datapath, from there on from the agent."""

    UNSPEC = 0
    DROP = 1
    DEBUG = 2
    CAPTURE = 3
    TRACE = 4
    POLICY_VERDICT = 5
    RECORDER = 6
    TRACE_SOCK = 7
    ACCESS_LOG = 129
    AGENT = 130


MESSAGE_NAMES: Mapping[str, MessageType] = {
    "drop": MessageType.DROP,
    "debug": MessageType.DEBUG,
    "capture": MessageType.CAPTURE,
    "trace": MessageType.TRACE,
    "policy-verdict": MessageType.POLICY_VERDICT,
    "recorder": MessageType.RECORDER,
    "trace-sock": MessageType.TRACE_SOCK,
    "l7": MessageType.ACCESS_LOG,
    "agent": MessageType.AGENT,
}

_ADDED_SINCE_1_9 = {MessageType.RECORDER, MessageType.TRACE_SOCK}

MESSAGE_NAMES_1_9: Mapping[str, MessageType] = {
    name: number for name, number in MESSAGE_NAMES.items() if number not in _ADDED_SINCE_1_9
}

_NAMES_BY_NUMBER: Mapping[int, str] = {number: name for name, number in MESSAGE_NAMES.items()}


def message_type_name(number: int) -> str:
    """Name a type of message; an unknown one by its number."""
    return _NAMES_BY_NUMBER.get(number) or str(number)
