"""How values look in the line of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_SHOWN", "bool_text", "bytes_text", "list_text"]

# Longer lists are shown as their length.
MAX_SHOWN = 4


def list_text(items: Sequence[object]) -> str:
    """Render a list: ``[a, b]``, or ``[..5..]`` for its length."""
    if len(items) > MAX_SHOWN:
        return f"[..{len(items)}..]"
    return f"[{', '.join([str(item) for item in items])}]"


def bytes_text(data: bytes) -> str:
    """Render bytes as a list of decimal numbers."""
    return list_text(data)


def bool_text(value: int) -> str:
    """Render whether a bit is set."""
    return "true" if value else "false"
