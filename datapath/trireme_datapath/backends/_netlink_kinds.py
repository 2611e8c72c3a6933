"""Kinds of messages: all of one hook, interface and mark are laid out alike, and judged alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_datapath.backends._netlink_codec import VERDICT_ID, batch_verdict, verdict
from trireme_datapath.backends._netlink_layout import Layout, discover, may_widen
from trireme_datapath.packets import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trireme_datapath.engine import Engine
    from trireme_datapath.lanes import Lane
    from trireme_datapath.packets import QueuedPacket

__all__ = ["Kind", "Kinds"]

# Hooks x interfaces x marks x a few forms; beyond it, all are found anew.
_MAX_KINDS: Final = 64


class Kind:
    """One kind of message: its layout, the engine's lane for it, and the verdict that denies."""

    __slots__ = ("accept_batch", "accept_one", "deny_one", "lane", "layout", "wide_key")

    def __init__(self, layout: Layout, wide_key: bytes, lane: Lane, queue_number: int) -> None:
        """Prepare the verdicts."""
        self.layout = layout
        self.wide_key = wide_key
        self.lane = lane
        denial = verdict(queue_number, 0, lane.denied_verdict, lane.denied_mark)
        self.deny_one = _halves(denial)
        mark = lane.accepted_mark
        self.accept_batch = _halves(batch_verdict(queue_number, 0, Verdict.ACCEPT, mark))
        self.accept_one = _halves(verdict(queue_number, 0, Verdict.ACCEPT, mark))

    def accept(self, packet_ids: Iterable[int]) -> bytes:
        """Give the verdicts that accept packets, one for each."""
        head, tail = self.accept_one
        return b"".join([head + one.to_bytes(4, "big") + tail for one in packet_ids])

    def deny(self, packet_ids: Sequence[int]) -> bytes:
        """Give the verdicts that deny packets, one for each."""
        head, tail = self.deny_one
        return b"".join([head + one.to_bytes(4, "big") + tail for one in packet_ids])


def _halves(message: bytes) -> tuple[bytes, bytes]:
    """Give what stands before and behind the packet id of a verdict."""
    return message[:VERDICT_ID], message[VERDICT_ID + 4 :]


class Kinds:
    """The kinds that a queue has shown so far.

    Args:
        engine: Who judges; it makes the lanes.
        queue_number: The queue.
        copy_range: How many bytes of a packet the kernel copies.
        slot_size: How many bytes a message may have.

    Attributes:
        known: The kinds, the one that was used most lately first.
    """

    def __init__(
        self, engine: Engine, queue_number: int, *, copy_range: int, slot_size: int
    ) -> None:
        """Know none."""
        self.known: list[Kind] = []
        self._engine = engine
        self._queue_number = queue_number
        self._copy_range = copy_range
        self._slot_size = slot_size
        self._lanes: dict[tuple[int, str, str, int, int], Lane] = {}

    def of(self, message: memoryview) -> Kind | None:
        """Find the kind of a message."""
        return next((one for one in self.known if one.layout.matches(message)), None)

    def prefer(self, kind: Kind) -> None:
        """Try a kind first from now on."""
        self.known.remove(kind)
        self.known.insert(0, kind)

    def learn(self, message: memoryview, queued: QueuedPacket) -> None:
        """Make a kind of a message that belongs to none yet."""
        if self.of(message) is not None:
            return
        layout = discover(message, self._slot_size)
        wide = discover(message, self._slot_size, may_widen(message))
        if layout is None or wide is None:
            return
        for kind in self.known:
            if kind.wide_key == wide.key:
                # The same but for a value that proves to change: step over it from now on.
                kind.layout = wide
                return
        if len(self.known) >= _MAX_KINDS:
            self.forget()
        where = (queued.hook, queued.indev, queued.outdev, queued.mark, layout.version)
        lane = self._lanes.get(where)
        if lane is None:
            lane = self._lanes[where] = self._engine.lane(queued, copy_range=self._copy_range)
        self.known.append(Kind(layout, wide.key, lane, self._queue_number))

    def forget(self) -> None:
        """Forget all."""
        for lane in self._lanes.values():
            self._engine.forget_lane(lane)
        self._lanes.clear()
        self.known.clear()
