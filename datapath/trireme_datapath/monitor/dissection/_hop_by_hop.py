"""The hop-by-hop options of IPv6, which are decoded as a part of its header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.monitor.dissection._protocols import ip_protocol
from trireme_datapath.monitor.dissection._values import MAX_SHOWN, bytes_text, list_text

if TYPE_CHECKING:
    from trireme_datapath.monitor.dissection._progress import Progress

__all__ = ["HopByHop"]

_PAD1 = 0
_JUMBOGRAM = 0xC2
_JUMBO_BYTES = 4
_LARGEST_LENGTH = 65535


class HopByHop:
    """A hop-by-hop header.

    Attributes:
        next_header: The protocol of what follows.
        size_bytes: How long the header is.
        jumbogram: The data of the first jumbogram option, or ``None``.
    """

    __slots__ = (
        "_header_length",
        "_option_count",
        "_payload_size",
        "_progress",
        "_shown",
        "_start_data",
        "jumbogram",
        "next_header",
        "size_bytes",
    )

    def __init__(self, progress: Progress) -> None:
        """Make an object that has decoded nothing."""
        self._progress = progress
        self._start_data = b""
        self._header_length = 0
        self.next_header = self.size_bytes = 0
        self._forget()

    def _forget(self) -> None:
        self._option_count = 0
        self._shown: list[tuple[int, bytes]] = []
        self.jumbogram: bytes | None = None

    def decode(self, data: bytes) -> str:
        """Read the header; give the error, or ``""``."""
        size = len(data)
        self._start_data = b""
        self.next_header = self._header_length = self.size_bytes = 0
        if size < 2:
            self._progress.truncated = True
            return f"Invalid ip6-extension header. Length {size} less than 2"
        end = data[1] * 8 + 8
        if size < end:
            return f"Invalid ip6-extension header. Length {size} less than specified length {end}"
        self.next_header, self._header_length = data[0], data[1]
        self.size_bytes = end
        self._start_data = data
        # In 1.9 the options of an outer header stay in the list.
        if not self._progress.is_1_9:
            self._forget()
        return self._decode_options(data, end)

    def _decode_options(self, data: bytes, end: int) -> str:
        at, size = 2, len(data)
        count, left = 0, self._progress.options_left
        error = ""
        while at < end:
            if count == left:
                error = "IPv6 hop-by-hop options overlap"
                break
            kind = data[at]
            # 1.9 reads no length for a pad of one byte, and so can find it at the very end.
            if at + 2 > size and not (self._progress.is_1_9 and kind == _PAD1):
                error = self._cut("IPv6 header option too small")
                break
            count += 1
            if kind == _PAD1:
                at += 1
                if self._option_count + count <= MAX_SHOWN:
                    self._shown.append((_PAD1, b""))
                continue
            following = at + 2 + data[at + 1]
            option = data[at + 2 : following]
            if following > size:
                # 1.9 takes what is missing from behind the payload, if there is enough.
                option += self._progress.beyond[: following - size]
                if len(option) < data[at + 1]:
                    error = self._cut("IPv6 header TLV option too small")
                    count -= 1
                    break
            if self._option_count + count <= MAX_SHOWN:
                self._shown.append((kind, option))
            if kind == _JUMBOGRAM and self.jumbogram is None:
                self.jumbogram = option
            at = following
        self._option_count += count
        self._progress.options_left = left - count
        return error

    def _cut(self, error: str) -> str:
        # 1.9 checks no length and is stopped by the runtime, too late to say so.
        if not self._progress.is_1_9:
            self._progress.truncated = True
        return error

    def jumbo_length(self) -> tuple[int, str]:
        """Give the length of a jumbogram and the error; 0 if there is no such option."""
        data = self.jumbogram
        if data is None:
            return 0, ""
        if len(data) != _JUMBO_BYTES:
            return 0, "Jumbo length TLV data must have length 4"
        length = int.from_bytes(data, "big")
        if length <= _LARGEST_LENGTH:
            return 0, "Jumbo length cannot be less than 65536"
        return length, ""

    def text(self) -> str:
        """Render the header as the value of a field."""
        data, end = self._start_data, self.size_bytes
        if self._option_count > MAX_SHOWN:
            options = f"[..{self._option_count}..]"
        else:
            options = list_text([_option_text(kind, data) for kind, data in self._shown])
        return (
            f"{{ Contents={bytes_text(data[:end])} Payload={bytes_text(data[end:])}"
            f" NextHeader={ip_protocol(self.next_header)[0]} HeaderLength={self._header_length}"
            f" ActualLength={end} Options={options}}}"
        )


def _option_text(kind: int, data: bytes) -> str:
    actual = 1 if kind == _PAD1 else len(data) + 2
    return (
        f"{{OptionType={kind} OptionLength={len(data)} ActualLength={actual}"
        f" OptionData={bytes_text(data)} OptionAlignment=[0 0]}}"
    )
