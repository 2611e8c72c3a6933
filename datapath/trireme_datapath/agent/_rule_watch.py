"""Watches over the kernel rules: whoever changes them is noticed, and they are put right again.

Where the kernel tells of changes, they are noticed at once; every few seconds a look finds the
others.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import structlog

from trireme_collector.errors import TriremeError
from trireme_collector.metrics import HealthCheck
from trireme_collector.records import TraceReport
from trireme_datapath.kernel.rule_changes import RuleChanges
from trireme_datapath.kernel.rules import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.records import Record
    from trireme_datapath.agent._parts import Rules

__all__ = ["Changes", "RuleWatch", "VerifiedRules", "open_changes"]

# Somebody may change rules all the time. Looking takes a few programs: no more of the time than
# one part of this many goes into it; but whatever it takes, the next look comes in its time.
_REST: Final = 10
_SHORTEST_REST_SECONDS: Final = 0.05


@runtime_checkable
class VerifiedRules(Protocol):
    """Rules that can be compared with what is in place."""

    def install(self) -> None:
        """Put them in place."""

    def verify(self) -> list[str]:
        """Say how what is in place differs."""
        ...


class Changes(Protocol):
    """What tells that somebody changed rules."""

    def fileno(self) -> int:
        """Give the descriptor: readable when something was changed."""
        ...

    def heard(self) -> bool:
        """Take what was told; say whether our tables may have changed."""
        ...

    def close(self) -> None:
        """Hear no more."""


def open_changes() -> Changes | None:
    """Listen to the kernel; None where it tells nothing or may not be listened to."""
    try:
        return RuleChanges.open(TABLES)
    except OSError:
        return None


class RuleWatch:
    """Compares the rules with what they should be, in a thread of its own.

    It does so when the kernel tells of a change, and every few seconds.

    Args:
        rules: Gives the rules that should be in place.
        seconds: How often; never if 0.
        repair: Whether they are put in place again when they differ.
        report: Takes the record of a change, from that thread.
        changes: Opens what tells of changes.

    Attributes:
        lock: Held while rules are looked at or repaired; whoever changes them holds it, too.
        repairs: How often they were put in place again.
    """

    def __init__(
        self,
        rules: Callable[[], Rules],
        *,
        seconds: float,
        repair: bool,
        report: Callable[[Record], None],
        changes: Callable[[], Changes | None] = open_changes,
    ) -> None:
        """Look at nothing yet."""
        self.lock = threading.Lock()
        self.repairs = 0
        self._rules = rules
        self._seconds = seconds
        self._repair = repair
        self._report = report
        self._problems: tuple[str, ...] = ()
        self._open_changes = changes
        self._ending = -1
        self._thread: threading.Thread | None = None
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.rules")

    def start(self) -> None:
        """Begin to look, if these rules can be looked at."""
        if self._seconds <= 0 or not isinstance(self._rules(), VerifiedRules):
            return
        self._ending = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Open before anybody can rely on it: what is changed from now on is heard.
        changes = self._open_changes()
        self._thread = threading.Thread(
            target=self._run, args=(changes,), name="rule-watch", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Look no more; whoever is looking ends first."""
        thread, self._thread = self._thread, None
        if thread is not None:
            os.eventfd_write(self._ending, 1)
            thread.join()
            os.close(self._ending)

    def health(self) -> Iterator[HealthCheck]:
        """Say whether the rules were in place at the last look."""
        if self._thread is None:
            return
        problems = self._problems
        again = f", put in place again {self.repairs} times" if self.repairs else ""
        detail = f"not enforcing: {'; '.join(problems)}" if problems else f"in place{again}"
        yield HealthCheck("rules", ok=not problems, detail=detail)

    def look(self) -> tuple[str, ...]:
        """Compare once, and repair.

        Returns:
            What is wrong now.
        """
        with self.lock:
            rules = self._rules()
            if not isinstance(rules, VerifiedRules):
                return ()
            before, problems = self._problems, _problems(rules)
            if problems and problems != before:
                self._log.error("rules_changed", problems=problems)
            if problems and self._repair:
                left = self._repaired(rules)
                self._tell(problems, repaired=not left, known=before)
                problems = left
            elif problems:
                self._tell(problems, repaired=False, known=before)
            elif before:
                self._log.warning("rules_in_place_again")
            self._problems = problems
            return problems

    def _repaired(self, rules: VerifiedRules) -> tuple[str, ...]:
        """Put the rules in place again; give what is wrong after that."""
        try:
            rules.install()
        except TriremeError as error:
            return (f"they cannot be put in place again: {error}",)
        left = _problems(rules)
        if not left:
            self.repairs += 1
            self._log.warning("rules_repaired", repairs=self.repairs)
        return left

    def _tell(self, problems: tuple[str, ...], *, repaired: bool, known: tuple[str, ...]) -> None:
        """Record a change; what lasts is recorded once."""
        if known and not repaired:
            return
        head = f"trireme-collector rules=changed repaired={'yes' if repaired else 'no'}"
        self._report(TraceReport(lines=(head, *problems)))

    def _run(self, changes: Changes | None) -> None:
        with contextlib.ExitStack() as stack:
            if changes is not None:
                stack.callback(changes.close)
            while not self._waited(changes):
                began = time.monotonic()
                try:
                    self.look()
                except Exception:  # noqa: BLE001  whatever it is, it may not end the watch
                    self._log.exception("rule_watch_failed")
                if changes is not None:
                    took = time.monotonic() - began
                    rest = max(_SHORTEST_REST_SECONDS, took * _REST)
                    if self._ended(min(rest, self._seconds / 2)):
                        return

    def _waited(self, changes: Changes | None) -> bool:
        """Wait until it is time to look, or something was changed; say whether it is over."""
        if changes is None:
            return self._ended(self._seconds)
        due = time.monotonic() + self._seconds
        while True:
            ready = _readable(max(due - time.monotonic(), 0), self._ending, changes.fileno())
            if self._ending in ready:
                return True
            if not ready or changes.heard():
                return False

    def _ended(self, seconds: float) -> bool:
        return bool(_readable(seconds, self._ending))


def _readable(seconds: float, *descriptors: int) -> set[int]:
    """Wait until some of the descriptors are readable, but no longer than this."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(math.ceil(seconds * 1_000))}


def _problems(rules: VerifiedRules) -> tuple[str, ...]:
    try:
        return tuple(rules.verify())
    except TriremeError as error:
        return (f"they cannot be read: {error}",)
