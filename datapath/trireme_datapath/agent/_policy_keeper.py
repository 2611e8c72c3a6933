"""Which policy an agent judges by, and how another one takes its place.

Files are read, policies compiled and rules renewed beside the packets. One change is made at a
time; whoever asks for another meanwhile waits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import structlog

from trireme_collector.control import ObserveResult, PolicyStatus, ReloadResult
from trireme_collector.errors import ConfigError, DatapathError, TriremeError
from trireme_datapath.agent._files import SwitchedFiles, ToldFiles
from trireme_datapath.agent._observing import switch_report
from trireme_datapath.policy import CompiledPolicy

if TYPE_CHECKING:
    from concurrent.futures import Future

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.records import Record, TraceReport
    from trireme_datapath.agent._background import BackgroundWork
    from trireme_datapath.agent._files import AgentFiles, Readable, Reading
    from trireme_datapath.agent._kept_rules import KeptRules
    from trireme_datapath.lifecycle import UnitLifecycle

__all__ = ["PolicyKeeper", "PutInForce"]

ResultT = TypeVar("ResultT")

PutInForce: TypeAlias = Callable[[CompiledPolicy, Callable[[tuple[str, ...]], None]], None]
"""Has all packets judged by a policy from now on, and calls back with what was wrong with it."""


class _GroupsNotMarkedError(DatapathError):
    """The kernel's rules cannot mark a control group."""


class _Change(NamedTuple):
    """A change that somebody wants.

    Attributes:
        source: Gives where the policy comes from, when its turn comes.
        done: Called with what came of it: what was read, and the policy of before.
        failed: Called with why there is no change.
        rules_first: Whether the rules are renewed before anybody judges by it.
    """

    source: Callable[[], Readable]
    done: Callable[[Reading, CompiledPolicy], None]
    failed: Callable[[TriremeError], None]
    rules_first: bool = False


class PolicyKeeper:
    """Keeps the policy of an agent; everything is for the thread of its loop.

    Args:
        files: Where policies are read.
        policy: The policy to begin with.
        units: What is told of units.
        rules: The kernel's rules.
        put_in_force: Has packets judged by another policy.
        background: Does what takes long.
        report: Takes the record of a switch between enforcing and observing.

    Attributes:
        policy: The policy in force.
        since_ns: Since when it is, nanoseconds since 1970 UTC.
        refused: What was wrong with the files at the last reload.
        begins: Called when a change begins, for whoever wants to know.
        ended: Called when it is over.
    """

    def __init__(
        self,
        files: AgentFiles,
        policy: CompiledPolicy,
        units: UnitLifecycle,
        rules: KeptRules,
        put_in_force: PutInForce,
        background: BackgroundWork,
        report: Callable[[Record], None],
    ) -> None:
        """Change nothing."""
        self._files = files
        self.policy = policy
        self.since_ns = time.time_ns()
        self.refused: tuple[str, ...] = ()
        self.begins: Callable[[], None] = lambda: None
        self.ended: Callable[[], None] = lambda: None
        self._units = units
        self._rules = rules
        self._put_in_force = put_in_force
        self._background = background
        self._report = report
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.policy")
        self._waiting: deque[_Change] = deque()
        self._followers: list[Callable[[], None]] = []
        self._following: list[Callable[[], None]] = []
        self._unfit: dict[str, str] = {}
        self._running: _Change | None = None
        self._units_changed = False
        self._closed = False
        units.changed = self._note_units

    @property
    def is_changing(self) -> bool:
        """Whether another policy is on its way."""
        return self._running is not None

    def status(self) -> PolicyStatus:
        """Tell which policy is in force, and what was refused since."""
        return PolicyStatus(
            file=str(self._files.policy_file.absolute()),
            revision=self.policy.revision,
            loaded_ns=self.since_ns,
            refused=self.refused,
            observe_only=self.policy.observe_only,
            observe_by=self._files.observe.by,
        )

    def close(self) -> None:
        """Change nothing any more; who waits hears so."""
        self._closed = True
        waiting = [*self._waiting] if self._running is None else [self._running, *self._waiting]
        self._waiting.clear()
        self._running = None
        for change in waiting:
            change.failed(_ending())
        _call([*self._following, *self._followers])

    def begin(self) -> None:
        """Tell of the switch and of the units that are there with the first policy."""
        self._tell_of_switch(switch_report(None, self.policy, self._files.observe))
        self._units.enter_policy(self.policy.policy)

    # What is asked for.

    def reload(self, future: Future[ReloadResult]) -> None:
        """Read the files again; all is as it was if they have mistakes."""

        def done(reading: Reading, before: CompiledPolicy) -> None:
            if reading.restart_needed:
                self._log.warning("restart_needed", keys=reading.restart_needed)
            revision = self.policy.revision
            self._log.info(
                "reloaded", policy_revision=revision, policy_revision_before=before.revision
            )
            result = ReloadResult(
                policy_file=str(reading.policy_file.absolute()),
                revision_before=before.revision,
                revision=revision,
                changed=revision != before.revision,
                restart_needed=reading.restart_needed,
            )
            _settle(future, result)

        def failed(error: TriremeError) -> None:
            if isinstance(error, ConfigError):
                self.refused = error.problems or (str(error),)
                for problem in self.refused:
                    self._log.error("policy_refused", problem=problem)
                self._log.error("policy_kept", policy_revision=self.policy.revision)
            _fail(future, error)

        def source() -> Readable:
            return self._files.again(self._units.told, self.policy)

        self._want(_Change(source, done, failed))

    def switch(self, asked: bool | None, uid: int, future: Future[ObserveResult]) -> None:  # noqa: FBT001  None is the third
        """Only observe what the policy rejects, or enforce it.

        Args:
            asked: Whether only to observe; None for what the configuration and the policy say.
            uid: Who wants it, for the record of the switch.
            future: Where the result goes.
        """

        def source() -> Readable:
            return SwitchedFiles(self._files, self.policy, asked, uid, self._units.told)

        def done(reading: Reading, before: CompiledPolicy) -> None:
            result = ObserveResult(
                observe_only=reading.policy.observe_only,
                observe_by=reading.observe.by,
                revision_before=before.revision,
                revision=reading.policy.revision,
            )
            _settle(future, result)

        self._want(_Change(source, done, lambda error: _fail(future, error)))

    def tell(self, job: Callable[[], ResultT], future: Future[ResultT], context: str = "") -> None:
        """Have units told of something, and the result once packets are judged by it.

        Args:
            job: Tells the units.
            future: Where its result goes.
            context: Whom it is about: if that one cannot be policed, the future says why.
        """
        if self._closed:
            _fail(future, _ending())
            return
        try:
            result = job()
        except Exception as error:  # noqa: BLE001  carried to the thread that asked
            _fail(future, error)
            return

        def follow() -> None:
            problem = self._unfit.pop(context, "")
            if problem:
                _fail(future, ConfigError(problem))
            else:
                _settle(future, result)

        self._followers.append(follow)
        self._next()

    def _note_units(self) -> None:
        self._units_changed = True

    # One change.

    def _want(self, change: _Change) -> None:
        if self._closed:
            change.failed(_ending())
            return
        self._waiting.append(change)
        self._next()

    def _next(self) -> None:
        if self._running is not None or self._closed:
            return
        if self._waiting:
            self._begin(self._waiting.popleft())
        elif self._units_changed:
            self._begin(self._change_of_units())
        else:
            followers, self._followers = self._followers, []
            _call(followers)

    def _change_of_units(self) -> _Change:
        def source() -> Readable:
            return ToldFiles(self._files, self.policy, self._units.told)

        def failed(error: TriremeError) -> None:
            self._log.error("units_not_enforced", error=str(error))
            self._stop_new_units(error)

        return _Change(source, lambda _reading, _before: None, failed, rules_first=True)

    def _begin(self, change: _Change) -> None:
        self._running = change
        self._units_changed = False  # what was told until now is in it
        self._following, self._followers = self._followers, []
        self.begins()
        source = change.source()

        def read() -> Reading:
            reading = source.read_again()
            if change.rules_first and self._rules.marks_differ(reading.policy):
                problem = self._rules.renew(reading.policy)
                if problem:
                    msg = f"control groups cannot be marked: {problem}"
                    raise _GroupsNotMarkedError(msg)
            return reading

        self._background.do(
            read,
            lambda reading: self._read(change, source, reading),
            lambda error: self._failed(change, error),
        )

    def _read(self, change: _Change, source: Readable, reading: Reading) -> None:
        if self._running is not change:
            return
        if reading.policy.edition == self.policy.edition:
            self._take_over(change, source, reading, self.policy)
            return

        def judged(problems: tuple[str, ...]) -> None:
            if problems:
                self._failed(change, ConfigError("\n".join(problems), problems=problems))
            else:
                self._enforced(change, source, reading)

        self._put_in_force(reading.policy, judged)

    def _enforced(self, change: _Change, source: Readable, reading: Reading) -> None:
        if self._running is not change:
            return
        before, self.policy = self.policy, reading.policy
        self._tell_of_switch(switch_report(before, reading.policy, reading.observe))
        if before.revision != reading.policy.revision:
            self.since_ns = time.time_ns()
            self._units.enter_policy(reading.policy.policy)
        if change.rules_first:
            self._take_over(change, source, reading, before)
            return
        self._background.do(
            lambda: self._rules.renew(reading.policy),
            lambda _: self._take_over(change, source, reading, before),
            lambda error: self._failed(change, error),
        )

    def _take_over(
        self, change: _Change, source: Readable, reading: Reading, before: CompiledPolicy
    ) -> None:
        if self._running is not change:
            return
        source.take_over(reading)
        if not change.rules_first:
            self.refused = ()
        self._end()
        change.done(reading, before)
        self._go_on()

    def _failed(self, change: _Change, error: Exception) -> None:
        if self._running is not change:
            return
        if not isinstance(error, TriremeError):
            error = DatapathError(
                f"{type(error).__name__}: {error}; this is a mistake in the agent"
            )
        self._end()
        change.failed(error)
        self._go_on()

    def _end(self) -> None:
        self._running = None
        self.ended()

    def _go_on(self) -> None:
        following, self._following = self._following, []
        _call(following)
        self._next()

    def _stop_new_units(self, error: TriremeError) -> None:
        """Stop the units that nobody judges by; the others are tried again without them."""
        enforced = set(self.policy.told)
        for unit in self._units.settled_for(self.policy.policy):
            is_to_blame = bool(unit.cgroups) or not isinstance(error, _GroupsNotMarkedError)
            if unit not in enforced and is_to_blame:
                self._unfit[unit.context_id] = str(error)
                self._units.fail(unit.context_id)

    def _tell_of_switch(self, report: TraceReport | None) -> None:
        if report is not None:
            self._log.warning("observe_switched", line=report.lines[0])
            self._report(report)


def _call(followers: list[Callable[[], None]]) -> None:
    for follow in followers:
        follow()


def _ending() -> DatapathError:
    return DatapathError("the agent ends: start it anew instead")


def _settle(future: Future[ResultT], result: ResultT) -> None:
    if not future.cancelled():
        future.set_result(result)


def _fail(future: Future[ResultT], error: Exception) -> None:
    if not future.cancelled():
        future.set_exception(error)
