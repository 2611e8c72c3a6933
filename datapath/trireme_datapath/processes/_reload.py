"""A reload: all enforcers prepare the new policy, and only then does one of them judge by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from trireme_collector.control import ReloadResult
from trireme_collector.errors import ConfigError, TriremeError
from trireme_datapath.processes._messages import Enforce, NewPolicy, PolicyRefused, Reopen
from trireme_datapath.processes._post import Duty

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from structlog.typing import FilteringBoundLogger

    from trireme_datapath.agent._files import Readable, Reading
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.processes._operations import Gathering
    from trireme_datapath.processes._post import Enforcement
    from trireme_datapath.processes._tree import Tree

__all__ = ["Reload"]

_PREPARE_SECONDS: Final = 120.0  # some hundred thousand rules, on a small machine
_ENFORCE_SECONDS: Final = 5.0


class Reload:
    """One reload, from its begin to its result.

    Args:
        tree: Whose.
        files: What is read.
        policy: The policy in force.
        future: Where the result goes.
        done: Called at the end: with the new policy, if there is one, and what was refused.
    """

    def __init__(
        self,
        tree: Tree,
        files: Readable,
        policy: CompiledPolicy,
        future: Future[ReloadResult],
        done: Callable[[CompiledPolicy | None, tuple[str, ...]], None],
    ) -> None:
        """Do nothing yet."""
        self._tree = tree
        self._files = files
        self._before = policy
        self._future = future
        self._done = done
        self._following: list[Callable[[], None]] = []
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.supervisor")

    def begin(self) -> None:
        """Have the outputs opened anew, and read the files."""
        self._tree.keeper.send(Reopen())
        try:
            reading = self._files.read_again()
        except TriremeError as error:
            self._refuse(tuple(getattr(error, "problems", ())) or (str(error),))
            return
        if reading.policy.revision == self._before.revision:
            self._finish(reading, None)
        else:
            self._prepare(reading)

    def follow(self, call: Callable[[], None]) -> None:
        """Have something called after this reload."""
        self._following.append(call)

    def next(self) -> None:
        """Call what waited for this reload."""
        for call in self._following:
            call()

    def _prepare(self, reading: Reading) -> None:
        asked = [
            one
            for one in self._tree.staff.all
            if one.duty in {Duty.JUDGING, Duty.TAKING, Duty.STANDING_BY}
        ]

        def ask(request: int) -> None:
            for one in asked:
                one.child.send(NewPolicy(request=request, policy=reading.policy.policy))

        def prepared(gathering: Gathering[object]) -> None:
            refusals = [a for a in gathering.answers.values() if isinstance(a, PolicyRefused)]
            if refusals:
                self._refuse(refusals[0].problems)
                return
            ready = [one for one in asked if one in gathering.answers]
            self._enforce(reading, ready)

        self._tree.gatherings.begin(asked, ask, prepared, patience_seconds=_PREPARE_SECONDS)

    def _enforce(self, reading: Reading, ready: list[Enforcement]) -> None:
        # Whoever comes from now on is given the new policy, and who is missing here gets it then.
        self._tree.staff.policy = reading.policy

        def ask(request: int) -> None:
            for one in ready:
                one.child.send(Enforce(request=request))

        def enforced(_gathering: Gathering[object]) -> None:
            self._tree.staff.bring_all_up_to_date()
            self._finish(reading, reading.policy)

        self._tree.gatherings.begin(ready, ask, enforced, patience_seconds=_ENFORCE_SECONDS)

    def _refuse(self, problems: tuple[str, ...]) -> None:
        self._done(None, problems)
        if not self._future.cancelled():
            self._future.set_exception(ConfigError("\n".join(problems), problems=problems))

    def _finish(self, reading: Reading, policy: CompiledPolicy | None) -> None:
        self._files.take_over(reading)
        before, revision = self._before.revision, reading.policy.revision
        self._done(policy, ())
        if reading.restart_needed:
            self._log.warning("restart_needed", keys=reading.restart_needed)
        self._log.info("reloaded", policy_revision=revision, policy_revision_before=before)
        if not self._future.cancelled():
            self._future.set_result(
                ReloadResult(
                    policy_file=str(reading.policy_file),
                    revision_before=before,
                    revision=revision,
                    changed=policy is not None,
                    restart_needed=reading.restart_needed,
                )
            )
