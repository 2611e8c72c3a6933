"""Text of single messages and of recorded sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.monitor.display import Mode
from trireme_datapath.monitor.formatter import Formatter
from trireme_datapath.monitor.sources import Payload, PayloadType, SessionDecoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trireme_datapath.monitor.filters import EventFilter
    from trireme_datapath.monitor.profiles import Profile

__all__ = ["render", "render_stream"]


def render(
    message: bytes | bytearray | memoryview,
    *,
    profile: str | Profile = "1.16",
    mode: str | Mode = Mode.INFO,
    cpu: int = 0,
    ifnames: Mapping[int, str] | Mapping[str, str] | None = None,
    fixed: bool = False,
) -> str:
    """Give the text that Cilium prints for a message.

    Args:
        message: The message, its type in the first byte. Any bytes will do.
        profile: The version of Cilium.
        mode: How much is shown.
        cpu: The processor that the message comes from.
        ifnames: The names of interfaces by number.
        fixed: Whether the output is for people and whole, or exactly that of Cilium.

    Raises:
        ValueError: There is no such profile or mode.
    """
    formatter = Formatter(profile=profile, mode=mode, ifnames=ifnames, fixed=fixed)
    return formatter.message(bytes(message), cpu)


def render_stream(
    data: bytes | bytearray | memoryview,
    *,
    profile: str | Profile = "1.16",
    mode: str | Mode = Mode.INFO,
    filter: EventFilter | Mapping[str, Iterable[str | int]] | None = None,  # noqa: A002
    ifnames: Mapping[int, str] | Mapping[str, str] | None = None,
    fixed: bool = False,
) -> str:
    """Give the text that Cilium prints for a session of its monitor socket.

    Args:
        data: What the agent sent to one client. A part that cannot be read is passed over.
        profile: The version of Cilium.
        mode: How much is shown.
        filter: Which messages are wanted: a filter, or its conditions (types, from, to,
            related).
        ifnames: The names of interfaces by number.
        fixed: Whether the output is for people and whole, or exactly that of Cilium.

    Raises:
        ConfigError: The filter cannot be used.
        ValueError: There is no such profile or mode.
    """
    formatter = Formatter(profile=profile, mode=mode, ifnames=ifnames, filter=filter, fixed=fixed)
    session = SessionDecoder(keep_previous=not fixed)
    texts = []
    for event in session.receive(bytes(data)):
        if not isinstance(event, Payload):
            continue
        if event.type == PayloadType.SAMPLE:
            texts.append(formatter.message(event.data, event.cpu))
        else:
            texts.append(formatter.lost(event.lost, event.cpu))
    return "".join(texts)
