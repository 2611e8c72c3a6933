"""Debug messages: what the datapath says when it was built to explain itself."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._go_text import ip_text, json_text, quoted
from trireme_datapath.monitor.display import PLAIN_DISPLAY, Display, Level
from trireme_datapath.monitor.tables.debug_messages import ConntrackState
from trireme_datapath.monitor.tables.error_numbers import error_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DEBUG_MSG_LEN", "DebugMsg", "decode_debug_msg"]

# type, subtype, endpoint, hash, three arguments
_LAYOUT: Final = struct.Struct("<BBHIIII")

DEBUG_MSG_LEN: Final = _LAYOUT.size


class DebugMsg(Struct, frozen=True, kw_only=True, gc=False):
    """A message of the datapath about itself.

    Attributes:
        type: 2.
        sub_type: What it is about, a `DebugType`.
        source: The endpoint that it belongs to.
        hash: The hash of the packet.
        arg1: What it says, the meaning depends on the subtype.
        arg2: See above.
        arg3: See above.
    """

    type: int = 0
    sub_type: int = 0
    source: int = 0
    hash: int = 0
    arg1: int = 0
    arg2: int = 0
    arg3: int = 0

    def endpoints(self) -> tuple[int, int]:
        """Give the endpoints that filters compare."""
        return self.source, 0

    def show(self, level: Level, data: bytes, prefix: str, display: Display) -> str:
        """Give the form of a level."""
        if level is Level.JSON:
            return self.dump_json(prefix, display)
        return self.dump_info(data, display) if level is Level.INFO else self.dump(prefix, display)

    def message(self, display: Display = PLAIN_DISPLAY) -> str:
        """Say what the message says."""
        text = display.profile.debug_texts.get(self.sub_type)
        if text is None:
            return f"Unknown message type={self.sub_type} arg1={self.arg1} arg2={self.arg2}"
        return text.format_map(_Values(self, display))

    def dump(self, prefix: str, display: Display = PLAIN_DISPLAY) -> str:
        """Give the line of the long forms."""
        return f"{prefix} MARK {self.hash:#x} FROM {self.source} DEBUG: {self.message(display)}\n"

    def dump_info(self, data: bytes, display: Display = PLAIN_DISPLAY) -> str:
        """Give the short form, which there is none of."""
        del self, data, display
        return ""

    def dump_json(self, cpu_prefix: str, display: Display = PLAIN_DISPLAY) -> str:
        """Give the JSON form, a line."""
        write = json_text if display.fixed else quoted
        return (
            f'{{"cpu":{write(cpu_prefix)},"type":"debug","message":'
            f"{write(self.message(display))}}}\n"
        )


class _Values(dict[str, object]):
    """What a text takes from a message: each value is made when the text names it."""

    def __init__(self, message: DebugMsg, display: Display) -> None:
        super().__init__(a1=message.arg1, a2=message.arg2, a3=message.arg3)
        self._message = message
        self._display = display

    def __missing__(self, name: str) -> object:
        return _PARTS[name](self._message, self._display)


def _swapped16(value: int) -> int:
    """Read the low 16 bits in the other byte order."""
    return (value & 0xFF) << 8 | (value >> 8) & 0xFF


def _ipv4(value: int) -> str:
    """Write the four bytes of a number as an address, as they lie in memory."""
    return ip_text(value.to_bytes(4, "little"))


def _ipv6_end(value: int) -> str:
    """Write the four bytes of a number as the last two groups of an address."""
    packed = value.to_bytes(4, "little")
    return f"{int.from_bytes(packed[:2], 'big'):x}:{int.from_bytes(packed[2:], 'big'):x}"


def _flag_names(value: int) -> str:
    names = [name for bit, name in ((1, "OUT"), (2, "RELATED")) if value & bit]
    return ", ".join(names)


def _tuple(m: DebugMsg, _display: Display) -> str:
    return (
        f"sport={m.arg1 >> 16} dport={m.arg1 & 0xFFFF} nexthdr={m.arg2 >> 8} "
        f"flags={_flag_names(m.arg2 & 0xFF)}"
    )


def _pair4(m: DebugMsg, _display: Display) -> str:
    return f"src={_ipv4(m.arg1)}:{m.arg3 & 0xFFFF} dst={_ipv4(m.arg2)}:{m.arg3 >> 16}"


def _pair6(m: DebugMsg, _display: Display) -> str:
    return (
        f"src=[::{_ipv6_end(m.arg1)}]:{m.arg3 & 0xFFFF} dst=[::{_ipv6_end(m.arg2)}]:{m.arg3 >> 16}"
    )


def _proxied(m: DebugMsg, _display: Display) -> str:
    return f"sport={_swapped16(m.arg1 >> 16)} dport={_swapped16(m.arg1)} saddr={_ipv4(m.arg2)}"


def _state(m: DebugMsg, display: Display) -> str:
    """Name the state of a connection; what is none is a reason to drop it."""
    if m.arg1 <= ConntrackState.RELATED:
        return ConntrackState(m.arg1).name.capitalize()
    return display.drop_reason(m.arg1 & 0xFF)


def _direction(m: DebugMsg, _display: Display) -> str:
    return {0: "egress", 1: "ingress"}.get(m.arg2, "")


def _assigned(m: DebugMsg, _display: Display) -> str:
    return error_text(m.arg1) if m.arg1 else "Success"


_PARTS: Mapping[str, Callable[[DebugMsg, Display], object]] = {
    "assigned": _assigned,
    "direction": _direction,
    "dport3": lambda m, _: _swapped16(m.arg3 >> 16),
    "high1": lambda m, _: m.arg1 >> 16,
    "ip1": lambda m, _: _ipv4(m.arg1),
    "ip2": lambda m, _: _ipv4(m.arg2),
    "ip3": lambda m, _: _ipv4(m.arg3),
    "link": lambda m, display: display.link(m.arg1),
    "low1": lambda m, _: m.arg1 & 0xFF,
    "low3": lambda m, _: m.arg3 & 0xFF,
    "n1": lambda m, _: _swapped16(m.arg1),
    "n2": lambda m, _: _swapped16(m.arg2),
    "n3": lambda m, _: _swapped16(m.arg3),
    "next_header": lambda m, _: m.arg1 >> 8,
    "pair4": _pair4,
    "pair6": _pair6,
    "proxied": _proxied,
    "six1": lambda m, _: _ipv6_end(m.arg1),
    "state": _state,
    "tuple": _tuple,
}


def decode_debug_msg(data: bytes) -> DebugMsg:
    """Read a debug message; bytes behind it are ignored.

    Raises:
        MessageError: It is too short.
    """
    if len(data) < DEBUG_MSG_LEN:
        raise MessageError(
            f"unexpected DebugMsg data length, expected {DEBUG_MSG_LEN} but got {len(data)}"
        )
    kind, sub_type, source, packet_hash, arg1, arg2, arg3 = _LAYOUT.unpack_from(data)
    return DebugMsg(
        type=kind,
        sub_type=sub_type,
        source=source,
        hash=packet_hash,
        arg1=arg1,
        arg2=arg2,
        arg3=arg3,
    )
