"""The kinds of messages: how each is read, and what happens when it cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor.display import Level
from trireme_datapath.monitor.messages.access_log import LogRecordNotify, decode_log_record_notify
from trireme_datapath.monitor.messages.agent import AgentNotify, decode_agent_notify
from trireme_datapath.monitor.messages.capture import (
    DEBUG_CAPTURE_LEN,
    DebugCapture,
    decode_debug_capture,
)
from trireme_datapath.monitor.messages.debug import DEBUG_MSG_LEN, DebugMsg, decode_debug_msg
from trireme_datapath.monitor.messages.drop import DropNotify, decode_drop_notify
from trireme_datapath.monitor.messages.policy_verdict import (
    POLICY_VERDICT_NOTIFY_LEN,
    PolicyVerdictNotify,
    decode_policy_verdict_notify,
)
from trireme_datapath.monitor.messages.recorder import (
    RECORDER_CAPTURE_LEN,
    RecorderCapture,
    decode_recorder_capture,
)
from trireme_datapath.monitor.messages.trace import (
    TRACE_NOTIFY_V0_LEN,
    TraceNotify,
    decode_trace_notify,
)
from trireme_datapath.monitor.messages.trace_sock import (
    TRACE_SOCK_NOTIFY_LEN,
    TraceSockNotify,
    decode_trace_sock_notify,
)
from trireme_datapath.monitor.profiles import PROFILE_1_9, PROFILE_1_16, Profile, find_profile
from trireme_datapath.monitor.tables.message_types import MessageType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trireme_datapath.monitor.display import Display

__all__ = ["NO_TYPE", "Kind", "Message", "Notification", "decode_message", "kinds_of"]

NO_TYPE: Final = "a message without a byte has no type"

Message = (
    DropNotify
    | DebugMsg
    | DebugCapture
    | TraceNotify
    | PolicyVerdictNotify
    | RecorderCapture
    | TraceSockNotify
    | LogRecordNotify
    | AgentNotify
)
"""A message of any kind."""


class Notification(Protocol):
    """What every message has."""

    def endpoints(self) -> tuple[int, int] | None:
        """Give the endpoints that filters compare; None if it passes every filter."""
        ...

    def show(self, level: Level, data: bytes, prefix: str, display: Display) -> str:
        """Give the form of a level."""
        ...


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of message.

    Attributes:
        number: The first byte of such messages.
        failure: What the line of an error says before the error.
        empty: The message that Cilium goes on with when it could not read one.
        decode: Reads one, or raises `MessageError`.
        header: Where the packet begins, if it has one.
        cut: The error that Cilium shows for all that are too short; None if it shows the reason.
        unchecked: The levels at which Cilium takes the packet of a message without asking
            whether it is long enough, and ends when it is not.
        begun: What Cilium has printed of such a message when it ends.
    """

    number: MessageType
    failure: str
    empty: Message
    decode: Callable[[bytes], Message]
    header: int = 0
    cut: str | None = "unexpected EOF"
    unchecked: frozenset[Level] = frozenset()
    begun: str = ""

    def ends(self, data: bytes, level: Level) -> bool:
        """Tell whether Cilium ends at a message that it could not read."""
        return level in self.unchecked and len(data) < self.header


_SHORT: Final = frozenset({Level.INFO, Level.DEBUG})
_ALL: Final = frozenset(Level)


def _kinds(profile: Profile) -> dict[int, Kind]:
    kinds = (
        Kind(
            number=MessageType.DROP,
            failure="Error while parsing drop notification message",
            empty=DropNotify(),
            decode=lambda data: decode_drop_notify(data, profile),
            header=profile.drop_length,
            unchecked=_SHORT,
        ),
        Kind(
            number=MessageType.DEBUG,
            failure="Error while parsing debug message",
            empty=DebugMsg(),
            decode=decode_debug_msg,
            header=DEBUG_MSG_LEN,
        ),
        Kind(
            number=MessageType.CAPTURE,
            failure="Error while parsing debug capture message",
            empty=DebugCapture(),
            decode=decode_debug_capture,
            header=DEBUG_CAPTURE_LEN,
            unchecked=frozenset({Level.JSON}),
        ),
        Kind(
            number=MessageType.TRACE,
            failure="Error while parsing trace notification message",
            empty=TraceNotify(),
            decode=lambda data: decode_trace_notify(data, profile),
            header=TRACE_NOTIFY_V0_LEN,
            cut=None,
            unchecked=_SHORT,
        ),
        Kind(
            number=MessageType.POLICY_VERDICT,
            failure="Error while parsing policy notification message",
            empty=PolicyVerdictNotify(),
            decode=decode_policy_verdict_notify,
            header=POLICY_VERDICT_NOTIFY_LEN,
            unchecked=_ALL,
        ),
        Kind(
            number=MessageType.RECORDER,
            failure="Error while parsing capture record",
            empty=RecorderCapture(),
            decode=decode_recorder_capture,
            header=RECORDER_CAPTURE_LEN,
            unchecked=_ALL,
            begun=RecorderCapture().headline(),
        ),
        Kind(
            number=MessageType.TRACE_SOCK,
            failure="Error while parsing socket trace notification message",
            empty=TraceSockNotify(),
            decode=decode_trace_sock_notify,
            header=TRACE_SOCK_NOTIFY_LEN,
        ),
        Kind(
            number=MessageType.ACCESS_LOG,
            failure="Error while decoding LogRecord notification message",
            empty=LogRecordNotify(),
            decode=decode_log_record_notify,
            cut=None,
        ),
        Kind(
            number=MessageType.AGENT,
            failure="Error while decoding agent notification message",
            empty=AgentNotify(),
            decode=decode_agent_notify,
            cut=None,
        ),
    )
    known = set(profile.message_names.values())
    return {kind.number: kind for kind in kinds if kind.number in known}


_KINDS: Final = {profile.name: _kinds(profile) for profile in (PROFILE_1_16, PROFILE_1_9)}


def kinds_of(profile: Profile) -> Mapping[int, Kind]:
    """Give the kinds of messages that a profile knows, by the first byte of a message."""
    return _KINDS[profile.name]


def decode_message(data: bytes, profile: str | Profile = PROFILE_1_16) -> Message:
    """Read a message of any kind.

    Raises:
        MessageError: It is empty, of an unknown type, or cannot be read.
    """
    if not data:
        raise MessageError(NO_TYPE)
    kind = kinds_of(find_profile(profile)).get(data[0])
    if kind is None:
        raise MessageError(f"unknown message type {data[0]}")
    return kind.decode(data)
