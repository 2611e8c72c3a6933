"""Hears at once when somebody changes kernel rules of iptables.

The nft variant of iptables writes tables of nftables, and the kernel tells of every change to
those. Of the legacy variant's tables it tells nothing.
"""

from __future__ import annotations

import socket
from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import Self

__all__ = ["RuleChanges", "touches"]

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_NFNLGRP_NFTABLES: Final = 7
_NFNL_SUBSYS_NFTABLES: Final = 10
# NFT_MSG_NEWTABLE to NFT_MSG_DELRULE: tables, chains and rules. Their first attribute names the
# table (NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE).
_LAST_KIND: Final = 8
_TABLE_NAME: Final = 1
_FAMILIES: Final = frozenset({2, 10})  # NFPROTO_IPV4, NFPROTO_IPV6
_HEADER: Final = Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE: Final = Struct("=HH")  # struct nlattr
_ATTRIBUTE_AT: Final = 20  # behind struct nfgenmsg
_DATAGRAM_BYTES: Final = 65_536
_MAX_DATAGRAMS: Final = 1_024  # a table of 10,000 rules that is flushed takes some hundred


def touches(data: bytes, tables: frozenset[bytes]) -> bool:
    """Whether messages of the kernel are about rules of certain tables, in IPv4 or IPv6.

    Args:
        data: What one receive brought; anything that is no such message is passed over.
        tables: The names of the tables.
    """
    at = 0
    while len(data) - at >= _ATTRIBUTE_AT:
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return False
        ours = kind >> 8 == _NFNL_SUBSYS_NFTABLES and kind & 0xFF <= _LAST_KIND
        if ours and data[at + _HEADER.size] in _FAMILIES:
            message = data[at + _ATTRIBUTE_AT : at + length]
            if len(message) >= _ATTRIBUTE.size:
                size, name = _ATTRIBUTE.unpack_from(message)
                text = message[_ATTRIBUTE.size : size]
                if name == _TABLE_NAME and text.rstrip(b"\0") in tables:
                    return True
        at += (length + 3) & ~3
    return False


class RuleChanges:
    """Hears changes of tables in the network namespace in which it was opened.

    Args:
        listener: The socket, a member of the group.
        tables: The names of the tables.
    """

    def __init__(self, listener: socket.socket, tables: frozenset[bytes]) -> None:
        """Own the socket."""
        self._socket = listener
        self._tables = tables

    @classmethod
    def open(cls, tables: frozenset[bytes]) -> Self:
        """Begin to listen.

        Raises:
            OSError: The kernel has no nftables, or CAP_NET_ADMIN is missing.
        """
        listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        try:
            listener.bind((0, 0))
            listener.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
            listener.settimeout(0)
        except OSError:
            listener.close()
            raise
        return cls(listener, tables)

    def fileno(self) -> int:
        """Give the descriptor: readable when something was changed."""
        return self._socket.fileno()

    def heard(self) -> bool:
        """Take what the kernel told; say whether our tables may have changed."""
        changed = False
        for _ in range(_MAX_DATAGRAMS):
            try:
                data, sender = self._socket.recvfrom(_DATAGRAM_BYTES)
            except BlockingIOError:
                return changed
            except OSError:  # ENOBUFS: more was told than the socket holds
                changed = True
                continue
            if sender[0] == 0:  # processes could send messages, too
                changed |= touches(data, self._tables)
        return changed

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()
