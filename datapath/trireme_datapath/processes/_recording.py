"""How an enforcer hands the packets that it judges over to recorders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.recorder.queue_feed import QueueFeed

if TYPE_CHECKING:
    from trireme_datapath.backends.netlink import NetlinkBackend
    from trireme_datapath.backends.paced import PacedBackend
    from trireme_datapath.engine import Engine
    from trireme_datapath.packets import JudgedPackets

__all__ = ["open_feed"]


class _Watched:
    """Several backends, as one that can be watched."""

    def __init__(self, backends: list[NetlinkBackend | PacedBackend]) -> None:
        self._backends = backends
        self._judged: JudgedPackets | None = None

    @property
    def judged(self) -> JudgedPackets | None:
        """Is shown every batch of packets with their verdicts, while somebody watches."""
        return self._judged

    @judged.setter
    def judged(self, judged: JudgedPackets | None) -> None:
        self._judged = judged
        for backend in self._backends:
            backend.judged = judged


def open_feed(
    path: str, group: str, engine: Engine, backends: list[NetlinkBackend | PacedBackend]
) -> QueueFeed:
    """Listen for recorders.

    Args:
        path: The socket.
        group: Who may open it besides the owner.
        engine: Who judges.
        backends: Where its packets come from.

    Raises:
        ConfigError: The socket cannot be made, or another process has it.
    """
    feed = QueueFeed(path, group, rule_of=engine.rule_of)
    feed.open()
    feed.watch(_Watched(backends))
    return feed
