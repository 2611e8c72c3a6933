"""Watches over the kernel rules: whoever changes them is noticed, and they are put right again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import structlog

from trireme_collector.errors import TriremeError
from trireme_collector.metrics import HealthCheck
from trireme_collector.records import TraceReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.records import Record
    from trireme_datapath.agent._parts import Rules

__all__ = ["RuleWatch", "VerifiedRules"]


@runtime_checkable
class VerifiedRules(Protocol):
    """Rules that can be compared with what is in place."""

    def install(self) -> None:
        """Put them in place."""

    def verify(self) -> list[str]:
        """Say how what is in place differs."""
        ...


class RuleWatch:
    """Compares the rules with what they should be, every few seconds, in a thread of its own.

    Args:
        rules: Gives the rules that should be in place.
        seconds: How often; never if 0.
        repair: Whether they are put in place again when they differ.
        report: Takes the record of a change, from that thread.

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
    ) -> None:
        """Look at nothing yet."""
        self.lock = threading.Lock()
        self.repairs = 0
        self._rules = rules
        self._seconds = seconds
        self._repair = repair
        self._report = report
        self._problems: tuple[str, ...] = ()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.rules")

    def start(self) -> None:
        """Begin to look, if these rules can be looked at."""
        if self._seconds <= 0 or not isinstance(self._rules(), VerifiedRules):
            return
        self._ending.clear()
        self._thread = threading.Thread(target=self._run, name="rule-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; whoever is looking ends first."""
        self._ending.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

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

    def _run(self) -> None:
        while not self._ending.wait(self._seconds):
            try:
                self.look()
            except Exception:  # noqa: BLE001  whatever it is, it may not end the watch
                self._log.exception("rule_watch_failed")


def _problems(rules: VerifiedRules) -> tuple[str, ...]:
    try:
        return tuple(rules.verify())
    except TriremeError as error:
        return (f"they cannot be read: {error}",)
