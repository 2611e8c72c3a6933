"""Every form of collector, made to look alike to the worker around it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from trireme_collector.collector import COLLECT_METHODS, BatchCollector
from trireme_collector.errors import (
    ConfigError,
    DeliveryError,
    PermanentDeliveryError,
    PluginError,
    RefusedCredentialsError,
    RetryableDeliveryError,
)
from trireme_collector.records import RECORD_TYPES, TraceReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trireme_collector.records import Record

__all__ = ["Adapter", "Outcome", "adapt"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of a batch: first the delivered records, then the rejected, then the rest.

    Attributes:
        delivered: How many were taken.
        rejected: How many after them are refused for good.
        error: Why not all were delivered, or None.
        retry: Whether the rest has to wait; otherwise it is given again at once.
        retry_after: Seconds that the receiver asked to wait, or None.
        refused: Whether the credentials were refused, not the records.
        split: Whether the rest was refused together, and is to be divided.
        is_bug: Whether the error is one that a plugin may not raise.
    """

    delivered: int
    rejected: int = 0
    error: Exception | None = None
    retry: bool = False
    retry_after: float | None = None
    refused: bool = False
    split: bool = False
    is_bug: bool = False


class Adapter(Protocol):
    """A collector as its worker sees it. No method of it raises an `Exception`, but `open`."""

    @property
    def kinds(self) -> frozenset[type[Record]]:
        """The kinds of records it takes."""
        ...

    def deliver(self, batch: Sequence[Record]) -> Outcome:
        """Hand over records."""
        ...

    def open(self) -> None:
        """Open what the collector needs.

        Raises:
            ConfigError: It cannot work as it is configured.
            PluginError: The plugin raised something that it may not raise.
        """

    def call(self, name: str) -> Exception | None:
        """Call ``flush``, ``reopen`` or ``close`` if the collector has it; give what it raised."""
        ...


def adapt(collector: object, *, name: str) -> Adapter:
    """Make any form of collector look alike.

    Args:
        collector: Something with ``deliver(batch)``, or with any of the ``collect_*`` methods.
        name: What messages call it.

    Raises:
        PluginError: It has neither.
    """
    if isinstance(collector, BatchCollector):
        return _BatchAdapter(collector, name)
    methods = {
        kind: cast("Callable[[object], object]", method)
        for tag, kind in RECORD_TYPES.items()
        if callable(method := getattr(collector, COLLECT_METHODS[tag], None))
    }
    if not methods:
        msg = (
            f"collector {name!r} ({type(collector).__name__}) takes no records: give it"
            " deliver(batch) or at least one of " + ", ".join(COLLECT_METHODS.values())
        )
        raise PluginError(msg)
    return _SimpleAdapter(collector, name, methods)


class _Lifecycle:
    def __init__(self, collector: object, name: str) -> None:
        self._collector = collector
        self._name = name

    def open(self) -> None:
        method = getattr(self._collector, "open", None)
        if not callable(method):
            return
        try:
            method()
        except (ConfigError, PluginError, DeliveryError):
            raise
        except Exception as error:
            msg = (
                f"collector {self._name!r} cannot be opened: {type(error).__name__}: {error};"
                " this is a mistake in the plugin, which may raise ConfigError here"
            )
            raise PluginError(msg) from error

    def call(self, name: str) -> Exception | None:
        method = getattr(self._collector, name, None)
        if not callable(method):
            return None
        try:
            method()
        except Exception as error:  # noqa: BLE001  a plugin may raise anything; the worker goes on
            _release(error)
            return error
        return None


class _BatchAdapter(_Lifecycle):
    def __init__(self, collector: BatchCollector, name: str) -> None:
        super().__init__(collector, name)
        known = frozenset(RECORD_TYPES.values())
        self.kinds = known.intersection(getattr(collector, "kinds", known))
        self._deliver = collector.deliver

    def deliver(self, batch: Sequence[Record]) -> Outcome:
        try:
            self._deliver(batch)
        except Exception as error:  # noqa: BLE001  a plugin may raise anything; it is counted and reported
            _release(error)
            return _outcome(error, len(batch))
        return Outcome(delivered=len(batch))


class _SimpleAdapter(_Lifecycle):
    def __init__(
        self,
        collector: object,
        name: str,
        methods: Mapping[type[Record], Callable[[object], object]],
    ) -> None:
        super().__init__(collector, name)
        self.kinds = frozenset(methods)
        self._methods = methods

    def deliver(self, batch: Sequence[Record]) -> Outcome:
        methods = self._methods
        done = 0
        try:
            for record in batch:
                argument = record.lines if type(record) is TraceReport else record
                methods[type(record)](argument)
                done += 1
        except Exception as error:  # noqa: BLE001  a plugin may raise anything; it is counted and reported
            _release(error)
            # What the error says about a batch means nothing here: the method got one record.
            retry = isinstance(error, RetryableDeliveryError)
            return Outcome(
                delivered=done,
                rejected=0 if retry else 1,
                error=error,
                retry=retry,
                retry_after=_seconds(error),
                refused=isinstance(error, RefusedCredentialsError),
                is_bug=not isinstance(error, DeliveryError),
            )
        return Outcome(delivered=done)


def _release(error: BaseException) -> None:
    """Let go of what an error holds through its traceback.

    That is mostly a whole batch and its rendered form, and often in a cycle with the error itself.
    A receiver that is away for hours would fill the memory with them until a garbage collection,
    which hardly ever comes: little else that is made here is of its concern.
    """
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        place = link.__traceback__
        while place is not None:
            with contextlib.suppress(RuntimeError):  # it is still at work, as ours is
                place.tb_frame.clear()
            place = place.tb_next
        link = link.__cause__ or link.__context__


def _outcome(error: Exception, size: int) -> Outcome:
    delivered = _within(error.delivered, size) if isinstance(error, DeliveryError) else 0
    others = size - delivered
    if isinstance(error, RetryableDeliveryError):
        return Outcome(
            delivered=delivered,
            error=error,
            retry=True,
            retry_after=_seconds(error),
            refused=isinstance(error, RefusedCredentialsError),
        )
    split = others > 1
    rejected = 0 if split else others
    if isinstance(error, PermanentDeliveryError):
        if error.rejected is not None:
            # Neither delivered nor rejected would be the same batch again, for ever.
            split, rejected = False, _within(error.rejected, others) or min(others, 1)
        elif not error.splittable:
            split, rejected = False, others
    return Outcome(
        delivered=delivered,
        rejected=rejected,
        error=error,
        split=split,
        is_bug=not isinstance(error, DeliveryError),
    )


def _within(count: object, size: int) -> int:
    """Keep what a plugin claims inside what it was given; what is no number claims nothing."""
    return max(0, min(count, size)) if isinstance(count, int) else 0


def _seconds(error: Exception) -> float | None:
    """Give what the receiver asked for, if the plugin says it as a number."""
    seconds = getattr(error, "retry_after", None)
    return seconds if isinstance(seconds, (int, float)) else None
