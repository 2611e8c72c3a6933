"""The kernel rules of a running agent: put in place, watched, renewed and removed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from trireme_collector.errors import TriremeError
from trireme_datapath.agent._rule_watch import RuleWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.records import Record
    from trireme_datapath.agent._parts import Rules
    from trireme_datapath.agent.config import RulesConfig
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.policy.told import ToldUnit

__all__ = ["KeptRules"]


_MOUNTS: Final = Path("/proc/self/mountinfo")


class KeptRules:
    """Keeps the rules that a policy asks for in place, if they are ours.

    Args:
        config: What the configuration says of them.
        policy: The policy to begin with.
        rules_of: Gives the rules for a policy.
        report: Takes the record of a change by others, from any thread.
        remove_at_stop: Whether they are removed at the end, whatever the configuration says.

    Attributes:
        watch: Who looks at them every few seconds.
    """

    def __init__(
        self,
        config: RulesConfig,
        policy: CompiledPolicy,
        rules_of: Callable[[CompiledPolicy], Rules],
        report: Callable[[Record], None],
        *,
        remove_at_stop: bool = False,
    ) -> None:
        """Describe them; put nothing in place."""
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.rules")
        self._rules_of = rules_of
        self._rules = rules_of(policy)
        self._groups = dict(policy.cgroup_marks)
        self._remove_at_stop = remove_at_stop or config.remove_at_stop
        self.installed_by_us = config.install
        self.watch = RuleWatch(
            lambda: self._rules,
            seconds=config.verify_seconds if config.install else 0,
            repair=config.repair,
            report=report,
        )

    def install(self) -> None:
        """Put them in place, if they are ours.

        Raises:
            DatapathError: The kernel refuses them.
        """
        if self.installed_by_us:
            self._rules.install()

    def marks_differ(self, policy: CompiledPolicy) -> bool:
        """Whether a policy marks other control groups than the rules in place."""
        return policy.cgroup_marks != self._groups

    def renew(self, policy: CompiledPolicy) -> str:
        """Put those for another policy in place; it takes some time, in any thread.

        Rules that mark control groups come from the policy.

        Returns:
            Why that is impossible: then those of before stay. Nothing when it was done.
        """
        if not self.installed_by_us:
            if not self.marks_differ(policy):
                return ""
            return "control groups are marked by rules of this agent, and [datapath.rules] install"
        rules = self._rules_of(policy)
        if rules is self._rules:
            return ""  # somebody else's, whatever the policy says
        with self.watch.lock:
            try:
                rules.install()
            except TriremeError as error:
                self._log.error("rules_not_renewed", error=str(error))
                return str(error)
            self._rules, self._groups = rules, dict(policy.cgroup_marks)
        return ""

    def problem_of(self, unit: ToldUnit) -> str:
        """Say why the control groups of a unit cannot be marked; nothing if they can."""
        if not unit.cgroups:
            return ""
        if not self.installed_by_us:
            return (
                f"unit {unit.context_id!r}: control groups are marked by the rules of the agent,"
                " and [datapath.rules] install = false: tell addresses or interfaces instead"
            )
        root = _cgroup_root()
        for path, _ in unit.cgroups:
            if root is not None and not (root / path).is_dir():
                return f"unit {unit.context_id!r}: there is no control group {path} in {root}"
        return ""

    def leave(self) -> bool:
        """Look at them no more, and remove them if that is wanted; say whether they are left."""
        self.watch.stop()
        if not (self.installed_by_us and self._remove_at_stop):
            return self.installed_by_us
        try:
            self._rules.remove()
        except TriremeError as error:
            self._log.error("rules_not_removed", error=str(error))
            return True
        return False


def _cgroup_root() -> Path | None:
    """Find out where the control groups of version 2 are mounted."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        place, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(place.split()[4])
    return None
