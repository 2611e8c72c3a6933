"""Bytes as hexadecimal and text, side by side."""

from __future__ import annotations

__all__ = ["hex_dump"]

_ROW_BYTES = 16
_HALF_WIDTH = 8 * 3 - 1
_PRINTABLE = bytes(byte if 0x20 <= byte <= 0x7E else ord(".") for byte in range(256))


def hex_dump(data: bytes) -> str:
    """Render 16 bytes per line, with their offset; nothing for no bytes."""
    lines = []
    for offset in range(0, len(data), _ROW_BYTES):
        row = data[offset : offset + _ROW_BYTES]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        text = row.translate(_PRINTABLE).decode("ascii")
        lines.append(f"{offset:08x}  {left:<{_HALF_WIDTH}}  {right:<{_HALF_WIDTH}}  |{text}|\n")
    return "".join(lines)
