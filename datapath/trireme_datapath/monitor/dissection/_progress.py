"""What the layers of one packet share while it is decoded."""

from __future__ import annotations

from typing import ClassVar, Protocol

__all__ = ["Layer", "Progress"]


class Progress:
    """The state of one packet's decoding.

    Attributes:
        truncated: Whether a layer found less than its header promised.
        is_1_9: Whether the quirks of profile 1.9 apply.
        options_left: How many hop-by-hop options may still be read. Headers that do not overlap
            cannot hold more options than the packet has bytes; a jumbogram can make its own
            bytes be read again and again, and this bounds what that costs.
        beyond: In 1.9, what follows in the packet when headers have cut the payload off.
    """

    __slots__ = ("beyond", "is_1_9", "options_left", "truncated")

    def __init__(self, size_bytes: int, *, is_1_9: bool) -> None:
        """Begin with a packet of this size."""
        self.truncated = False
        self.is_1_9 = is_1_9
        self.options_left = size_bytes
        self.beyond = b""

    def cut(self, payload: bytes, size_bytes: int) -> bytes:
        """Shorten a payload to the size that a header gives."""
        if self.is_1_9:
            # Its bytes stay within reach of options that claim them.
            self.beyond = payload[size_bytes:] + self.beyond
        return payload[:size_bytes]


class Layer(Protocol):
    """One kind of header. One object serves every occurrence of its kind in a packet.

    Upstream re-uses its layer objects, and changes them before it knows that a header is
    sound. What a nested header leaves behind is therefore seen in the outer one's line.
    """

    # What the layer's line begins with.
    name: ClassVar[str]

    @property
    def payload(self) -> bytes:
        """What follows the header."""
        ...

    def decode(self, data: bytes) -> str:
        """Read the header; give the error, or ``""``."""
        ...

    def next_layer(self) -> str:
        """Name the kind of layer that the payload is, ``""`` for the unknown."""
        ...

    def fields(self) -> str:
        """Render the fields as ``Name=value``, separated by spaces."""
        ...
