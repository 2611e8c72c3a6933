"""What a recording needs of a source of packets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trireme_datapath.recorder.capture_formats import CaptureInterface, Frame

__all__ = ["Batch", "PacketSource"]


class Batch(NamedTuple):
    """Frames of one interface, and what is said about them."""

    frames: Sequence[Frame]
    interface: int = 0
    comments: Sequence[str] | None = None


class PacketSource(Protocol):
    """Gives the packets that fit the filters of one recording."""

    @property
    def loss_cause(self) -> str:
        """Where packets get lost of which `losses` tells."""
        ...

    @property
    def interfaces(self) -> tuple[CaptureInterface, ...]:
        """Where packets come from."""
        ...

    def register(self, descriptor: int) -> None:
        """Make `read` return early when this descriptor becomes readable."""
        ...

    def read(self, timeout_seconds: float) -> Iterator[Batch]:
        """Wait for packets, but not longer, and give what is there."""
        ...

    def losses(self) -> tuple[int, int]:
        """Give the packets, and their bytes as far as known, that were lost so far."""
        ...

    def end(self) -> None:
        """Take nothing more; what was taken still comes."""
        ...

    def is_over(self) -> bool:
        """Whether nothing will come any more."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...
