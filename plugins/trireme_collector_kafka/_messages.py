"""Records as messages: the key, the value and the headers."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from msgspec import UNSET

from trireme_collector import FlowRecord
from trireme_collector.formats import render_json_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trireme_collector import Record

    Enrich: TypeAlias = Callable[[Mapping[str, object]], dict[str, object]]

__all__ = ["Message", "conversation_key", "message_form"]

_MAPPED_PREFIX = bytes(10) + b"\xff\xff"
_KNOWN_ADDRESSES = 65_536

Headers: TypeAlias = list[tuple[str, str | bytes | None]]


class Message(NamedTuple):
    """What is produced for a record.

    Attributes:
        value: The value.
        key: The key, or None for none.
        headers: Headers, or None for none.
    """

    value: bytes
    key: bytes | None
    headers: Headers | None = None


class _AddressBytes(dict[str, bytes]):
    """The bytes of addresses: reading the text again and again would cost more than the rest."""

    def __missing__(self, text: str) -> bytes:
        try:
            packed = ipaddress.ip_address(text).packed
        except ValueError:
            packed = b""
        if len(packed) == 4:
            packed = _MAPPED_PREFIX + packed
        if len(self) >= _KNOWN_ADDRESSES:
            self.clear()
        self[text] = packed
        return packed


_addresses = _AddressBytes()


def conversation_key(record: Record) -> bytes | None:
    """Give what both ways of a conversation have in common: their addresses.

    Returns:
        Both addresses in 16 bytes each, the smaller one first, as the agent of NetObserv keys its
        messages; None for a record without two addresses.
    """
    if type(record) is not FlowRecord:
        return None
    source, destination = _addresses[record.source.ip], _addresses[record.destination.ip]
    if not source or not destination:
        return None
    return source + destination if source < destination else destination + source


def message_form(
    layout: str, *, keyed: bool, agent_ip: str = "", enrich: Enrich | None = None
) -> Callable[[Record], tuple[Message, ...]]:
    """Give the function that makes the messages of a record.

    Args:
        layout: ``json`` or ``netobserv``.
        keyed: Whether messages have a key.
        agent_ip: The address of this host, for flow logs.
        enrich: Adds to flow logs what is known of their ends.
    """
    key = conversation_key if keyed else _no_key
    if layout == "json":
        return lambda record: (Message(render_json_line(record)[:-1], key(record)),)

    # The format brings a good part of the library along.
    from trireme_collector.formats.netobserv import render_netobserv  # noqa: PLC0415

    def render(record: Record) -> tuple[Message, ...]:
        common, headers = key(record), identity_headers(record)
        texts = render_netobserv(record, agent_ip=agent_ip or UNSET, enrich=enrich)
        return tuple(Message(text, common, headers) for text in texts)

    return render


def identity_headers(record: Record) -> Headers | None:
    """Give the record's identity, for which flow logs have no fields; None if it has none."""
    if not record.instance:
        return None
    return [
        ("trireme-instance", record.instance.encode("utf-8", "replace")),
        ("trireme-epoch", str(record.epoch or 0).encode()),
        ("trireme-sequence", str(record.sequence or 0).encode()),
    ]


def _no_key(record: Record) -> None:
    del record
