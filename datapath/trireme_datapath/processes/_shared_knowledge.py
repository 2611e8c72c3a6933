"""What one enforcer learned, or all were told, and who comes later has to know."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trireme_datapath.processes._enforcer_messages import Learn, LearnedName, TraceUnit
from trireme_datapath.tracing import TraceDirection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["SharedKnowledge"]

_MAX_NAMES: Final = 65_536


class SharedKnowledge:
    """Keeps names and what they stand for, and traces that run."""

    def __init__(self) -> None:
        """Know nothing."""
        self._names: dict[tuple[str, str, bytes], int] = {}
        self._traces: dict[str, TraceUnit] = {}

    @property
    def traces(self) -> tuple[TraceUnit, ...]:
        """What is traced now."""
        now_ns = time.time_ns()
        kept = {unit: one for unit, one in self._traces.items() if one.request.until_ns > now_ns}
        self._traces = kept
        return tuple(kept.values())

    def resume(self, traces: Iterable[TraceUnit]) -> None:
        """Go on with the traces that ran in the program of before."""
        self._traces = {one.unit: one for one in traces}

    def learn(self, names: Iterable[LearnedName]) -> None:
        """Keep what names stand for."""
        for one in names:
            key = (one.unit, one.name, one.address)
            self._names[key] = max(one.expires_ns, self._names.get(key, 0))
        if len(self._names) > _MAX_NAMES:
            self._forget_expired()

    def trace(self, order: TraceUnit) -> None:
        """Keep a trace that begins, or forget one that ends."""
        if order.request.direction is TraceDirection.DISABLED:
            self._traces.pop(order.unit, None)
        else:
            self._traces[order.unit] = order

    def for_newcomers(self) -> Iterator[Learn | TraceUnit]:
        """Give what somebody has to be told who was not there."""
        self._forget_expired()
        if self._names:
            names = tuple(LearnedName(*key, expires) for key, expires in self._names.items())
            yield Learn(names=names)
        yield from self.traces

    def _forget_expired(self) -> None:
        now_ns = time.time_ns()
        kept = {key: expires for key, expires in self._names.items() if expires > now_ns}
        # Whoever floods us with names loses the oldest.
        self._names = dict(list(kept.items())[-_MAX_NAMES // 2 :])
