"""Reads a ring as a request of Hubble's ``GetFlows`` asks, a portion at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from trireme_datapath.observer.flow_filter import FilterError, FlowFilter, compile_filters
from trireme_datapath.observer.seen import LostEvents, SeenFlow

if TYPE_CHECKING:
    from trireme_datapath.observer.ring import FlowRing

    Entry: TypeAlias = SeenFlow | LostEvents

__all__ = ["FlowReader", "FlowsRequest", "RequestError"]

_LOST_EVERY_NS: Final = 1_000_000_000
_RING_BUFFER: Final = "HUBBLE_RING_BUFFER"


class RequestError(ValueError):
    """A request cannot be honoured; the message says why."""


class FlowsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to see.

    Attributes:
        number: How many flows: the last ones, or the first; 0 for all.
        first: Begin with the oldest.
        follow: Go on with what comes.
        since_ns: Nothing before, nanoseconds since 1970 UTC.
        until_ns: Nothing after.
        allow: Flows that fit one of these, if there are any.
        deny: No flow that fits one of these.
    """

    number: int = 0
    first: bool = False
    follow: bool = False
    since_ns: int | None = None
    until_ns: int | None = None
    allow: tuple[FlowFilter, ...] = ()
    deny: tuple[FlowFilter, ...] = ()


class FlowReader:
    """Reads a ring for one client. It keeps nothing of what it reads.

    Where it begins is as Hubble has it: with ``since``, at the first flow that is not older;
    with ``first``, at the oldest; with a number, at the last so many that fit; a follower without
    any of these, at what comes next; and else at the oldest.

    Args:
        ring: The flows.
        request: What is wanted.

    Attributes:
        finished: Whether nothing more comes.
        lost: How many entries were overwritten before they were read.

    Raises:
        RequestError: The request contradicts itself, or a filter cannot be used.
    """

    def __init__(self, ring: FlowRing, request: FlowsRequest) -> None:
        """Check the request and find where to begin, or begin to look."""
        if request.first and request.follow:
            raise RequestError("first cannot be specified with follow")
        try:
            self._fits = compile_filters(request.allow, request.deny)
        except FilterError as error:
            raise RequestError(str(error)) from error
        self._ring = ring
        self._request = request
        self._end = ring.next  # for those who do not follow
        self._count = 0
        self._rewinding = False
        self._lost_unsaid = 0
        self._lost_said_ns: int | None = None
        self.finished = False
        self.lost = 0
        self._at = self._begin()

    def _begin(self) -> int:
        ring, request = self._ring, self._request
        if request.since_ns is not None:
            return self._first_since(request.since_ns)
        if request.first:
            return ring.oldest
        if request.number:
            self._rewinding = True
            return ring.next
        return ring.next if request.follow else ring.oldest

    def _first_since(self, since_ns: int) -> int:
        """Find the first entry that is not older; times are nearly in order, not quite."""
        ring = self._ring
        for number in range(ring.oldest, ring.next):
            entry = ring.get(number)
            if isinstance(entry, SeenFlow) and entry.time_ns >= since_ns:
                return number
        return ring.next

    @property
    def waiting(self) -> bool:
        """Whether there is nothing to read before somebody writes."""
        if self.finished or self._rewinding or not self._request.follow:
            return False
        return self._at >= self._ring.next

    def read(self, budget: int, now_ns: int) -> list[Entry]:
        """Read on.

        Args:
            budget: How many entries to look at.
            now_ns: The time, nanoseconds since 1970 UTC.

        Returns:
            What fits, oldest first, and what was lost on the way. It may be empty although there
            is more: ask `finished` and `waiting`.
        """
        if self._rewinding:
            budget = self._rewind(budget)
        found: list[Entry] = []
        while budget > 0 and not self.finished:
            budget -= 1
            if not self._request.follow and self._is_enough():
                self.finished = True
                break
            entry = self._next()
            if entry is None:
                break
            if isinstance(entry, LostEvents) or self._is_wanted(entry):
                found.append(entry)
        if self._lost_unsaid and (self.finished or self._may_say(now_ns)):
            # In front: what was lost came before what is read now.
            found.insert(0, LostEvents(_RING_BUFFER, self._lost_unsaid, now_ns))
            self._lost_unsaid = 0
            self._lost_said_ns = now_ns
        return found

    def _rewind(self, budget: int) -> int:
        """Go back until enough flows fit, and give what is left of the budget."""
        ring = self._ring
        while budget > 0:
            entry = ring.get(self._at - 1) if self._at > 0 else None
            if entry is None:
                break
            budget -= 1
            self._at -= 1
            if isinstance(entry, SeenFlow) and self._fits_flow(entry):
                self._count += 1
                if self._count == self._request.number:
                    break
        else:
            return 0
        self._rewinding = False
        self._count = 0
        return budget

    def _is_enough(self) -> bool:
        number = self._request.number
        return self._at >= self._end or 0 < number <= self._count

    def _next(self) -> Entry | None:
        """Give the next entry; None when there is none now."""
        ring = self._ring
        if self._at >= ring.next:
            return None
        entry = ring.get(self._at)
        while entry is None:
            oldest = ring.oldest
            if oldest <= self._at:
                return None  # it is being written
            self.lost += oldest - self._at
            self._lost_unsaid += oldest - self._at
            self._at = oldest
            entry = ring.get(self._at)
        self._at += 1
        return entry

    def _is_wanted(self, entry: SeenFlow) -> bool:
        request = self._request
        if request.until_ns is not None and entry.time_ns > request.until_ns:
            # For a follower that is the end; others may still find one out of order.
            self.finished = self.finished or request.follow
            return False
        if request.since_ns is not None and entry.time_ns < request.since_ns:
            return False
        if not self._fits_flow(entry):
            return False
        self._count += 1
        return True

    def _fits_flow(self, entry: SeenFlow) -> bool:
        flow = entry.flow
        return flow is not None and (self._fits is None or self._fits(flow))

    def _may_say(self, now_ns: int) -> bool:
        said = self._lost_said_ns
        return said is None or now_ns - said >= _LOST_EVERY_NS
