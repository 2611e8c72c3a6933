"""TCP flags of flow logs: bits, or the names that enrichment makes of them."""

from __future__ import annotations

from msgspec import UNSET

from trireme_collector.netobserv._go_values import uint32_of

__all__ = ["FIN", "FLAG_NAMES", "SYN_ACK", "flag_names", "flags_of", "is_closing", "is_reset"]

FLAG_NAMES: dict[str, int] = {
    "FIN": 0x01,
    "SYN": 0x02,
    "RST": 0x04,
    "PSH": 0x08,
    "ACK": 0x10,
    "URG": 0x20,
    "ECE": 0x40,
    "CWR": 0x80,
    "SYN_ACK": 0x100,
    "FIN_ACK": 0x200,
    "RST_ACK": 0x400,
}
"""Every flag in the order of its bit. The last three are of packets with both bits set."""

FIN = FLAG_NAMES["FIN"]
SYN_ACK = FLAG_NAMES["SYN_ACK"]
_CLOSING = FIN | FLAG_NAMES["FIN_ACK"]
_RESET = FLAG_NAMES["RST"] | FLAG_NAMES["RST_ACK"]


def is_closing(flags: int) -> bool:
    """Say whether a side closed with them."""
    return bool(flags & _CLOSING)


def is_reset(flags: int) -> bool:
    """Say whether the connection was broken off with them."""
    return bool(flags & _RESET)


def flag_names(flags: int) -> list[str]:
    """Name the flags that are set, in the order of their bits."""
    return [name for name, bit in FLAG_NAMES.items() if flags & bit]


def flags_of(value: object, *, with_names: bool) -> int:
    """Read the flags of a flow log; what cannot be read counts as none.

    Args:
        value: A number, decimal text, or UNSET.
        with_names: Whether names count, too: one, or a list of them.
    """
    if value is UNSET:
        return 0
    number = uint32_of(value)
    if number is not None:
        return number
    if not with_names:
        return 0
    names = value if isinstance(value, (list, tuple)) else [value]
    bits = [FLAG_NAMES.get(name, 0) for name in names if isinstance(name, str)]
    total = 0
    for bit in bits:
        total |= bit
    return total
