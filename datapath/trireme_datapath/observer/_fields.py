"""Fields of a flow in its JSON form, for any flow: what is not there is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    Flow: TypeAlias = Mapping[str, object]

__all__ = ["child", "integer", "ports", "protocol", "text", "texts"]

_NOTHING: Final[Mapping[str, object]] = {}
_WITH_PORTS: Final = ("TCP", "UDP", "SCTP")


def child(flow: Flow, name: str) -> Flow:
    """Give a message inside."""
    value = flow.get(name)
    return value if isinstance(value, dict) else _NOTHING


def text(flow: Flow, name: str) -> str:
    """Give a text."""
    value = flow.get(name)
    return value if isinstance(value, str) else ""


def integer(flow: Flow, name: str) -> int:
    """Give a number."""
    value = flow.get(name)
    return value if isinstance(value, int) else 0


def texts(flow: Flow, name: str) -> list[str]:
    """Give a list of texts."""
    value = flow.get(name)
    return value if isinstance(value, list) else []


def protocol(flow: Flow) -> str:
    """Name the protocol of layer 4."""
    value = flow.get("l4")
    if isinstance(value, dict):
        for name in value:
            return str(name)
    return ""


def ports(flow: Flow) -> tuple[int, int] | None:
    """Give source and destination port, if the protocol has ports."""
    value = flow.get("l4")
    if isinstance(value, dict):
        for name in _WITH_PORTS:
            layer = value.get(name)
            if isinstance(layer, dict):
                return integer(layer, "source_port"), integer(layer, "destination_port")
    return None
