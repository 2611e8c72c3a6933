"""The bits of marks that are ours."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from trireme_collector.errors import ConfigError

__all__ = ["DEFAULT_ACCEPT_MARK", "DEFAULT_MARK_MASK", "ConnectionMark"]

DEFAULT_MARK_MASK: Final = 0x03000000
"""Bits 24 and 25, which the widespread users of marks leave alone."""

DEFAULT_ACCEPT_MARK: Final = 0x40000
"""The bit of the packet mark that carries a decision from the queue to the next rule."""

_MAX_MARK: Final = 0xFFFFFFFF


class ConnectionMark(Struct, frozen=True, kw_only=True):
    """How the kernel remembers what was decided about a connection.

    The mark alone opens nothing: the kernel lets a packet pass by it only when the connection is
    one of those that an earlier packet opened, and that packet was judged.

    Attributes:
        mask: At least two bits that nobody else uses. The lowest is the mark of connections that
            were judged and accepted, the next one of those that began on a hook that is not
            judged.
    """

    mask: int = DEFAULT_MARK_MASK

    def check(self) -> None:
        """Refuse a mask that can not tell two kinds of connections.

        Raises:
            ConfigError: It has less than two bits, or more than a mark has.
        """
        if not 0 < self.mask <= _MAX_MARK or not self.exempt:
            raise ConfigError(
                f"connection mark mask {self.mask:#x}: choose two bits or more of 0xffffffff"
            )

    @property
    def accepted(self) -> int:
        """The mark of connections that were judged and accepted."""
        return self.mask & -self.mask

    @property
    def exempt(self) -> int:
        """The mark of connections that began on a hook that is not judged."""
        rest = self.mask & (self.mask - 1)
        return rest & -rest
