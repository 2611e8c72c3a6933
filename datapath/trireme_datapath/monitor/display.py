"""How a message is to be shown: the profile, numbers or names, and the modes."""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from trireme_datapath.monitor.profiles import PROFILE_1_16, Profile

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PLAIN_DISPLAY", "SEPARATOR", "Display", "Level", "Mode", "link_names"]

# Stands in front of the long form of a packet.
SEPARATOR: Final = "-" * 78 + "\n"


class Mode(StrEnum):
    """How much is printed of a message."""

    INFO = "info"
    INFO_NUMERIC = "info_numeric"
    DEBUG = "debug"
    VERBOSE = "verbose"
    VERBOSE_NUMERIC = "verbose_numeric"
    VERBOSE_HEX = "verbose_hex"
    JSON = "json"


class Level(Enum):
    """How much is printed of a message, whatever the form of numbers and packets."""

    INFO = auto()
    DEBUG = auto()
    VERBOSE = auto()
    JSON = auto()


class Display(Struct, frozen=True, kw_only=True):
    """How a message is to be shown.

    Attributes:
        profile: The version of Cilium whose output is wanted.
        numeric: Whether identities are numbers only.
        hexadecimal: Whether packets are dumped instead of dissected.
        fixed: Whether the output is for people and whole, or exactly that of Cilium.
        ifnames: The names of interfaces by number.
    """

    profile: Profile = PROFILE_1_16
    numeric: bool = False
    hexadecimal: bool = False
    fixed: bool = False
    ifnames: Mapping[int, str] = MappingProxyType({})

    def identity(self, number: int) -> str:
        """Name a security identity."""
        if self.numeric:
            return str(number)
        return self.profile.identities.get(number) or str(number)

    def identities(self, source: int, destination: int) -> str:
        """Name the identities of both sides, behind what stands in front of them."""
        lead = "" if self.fixed else self.profile.identity_lead
        return f"{lead}identity {self.identity(source)}->{self.identity(destination)}"

    def link(self, ifindex: int) -> str:
        """Name an interface; an unknown one by its number."""
        return self.ifnames.get(ifindex) or str(ifindex)

    def drop_reason(self, code: int, ext_error: int = 0) -> str:
        """Give the text of a drop reason, with the second error if there is one."""
        if self.fixed and not ext_error:
            return self.profile.drop_reasons.get(code) or str(code)
        return self.profile.drop_reason(code, ext_error)

    def outside(self, text: str) -> str:
        """Give a text that others chose; fixed output escapes what a terminal would obey."""
        if not self.fixed or text.isprintable():
            return text
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


PLAIN_DISPLAY: Final = Display()


def link_names(names: Mapping[int, str] | Mapping[str, str] | None) -> Mapping[int, str]:
    """Take the names of interfaces by number; the number may be written as a string.

    A name may hold any bytes: those that are no UTF-8 are replaced.
    """
    return {
        int(number): name.encode(errors="surrogateescape").decode(errors="replace")
        for number, name in (names or {}).items()
    }
