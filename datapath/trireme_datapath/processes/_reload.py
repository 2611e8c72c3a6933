"""A change of the policy: all enforcers prepare it, and only then does one of them judge by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_datapath.processes._enforcer_messages import Enforce, NewPolicy, PolicyRefused
from trireme_datapath.processes._post import Duty

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.processes._operations import Gathering
    from trireme_datapath.processes._post import Enforcement
    from trireme_datapath.processes._tree import Tree

__all__ = ["PolicyChange"]

_PREPARE_SECONDS: Final = 120.0  # some hundred thousand rules, on a small machine
_ENFORCE_SECONDS: Final = 5.0


class PolicyChange:
    """One change, from its begin to when everybody judges by the new policy.

    Args:
        tree: Whose.
        policy: The new policy.
        done: Called at the end, with what was wrong: then nobody judges by it.
    """

    def __init__(
        self, tree: Tree, policy: CompiledPolicy, done: Callable[[tuple[str, ...]], None]
    ) -> None:
        """Do nothing yet."""
        self._tree = tree
        self._policy = policy
        self._done = done

    def begin(self) -> None:
        """Have everybody prepare it, who is there."""
        policy, before = self._policy, self._tree.staff.policy
        asked = [
            one
            for one in self._tree.staff.all
            if one.duty in {Duty.JUDGING, Duty.TAKING, Duty.STANDING_BY}
        ]
        # Where only units came and went, the rules need not be told again.
        same = policy.policy == before.policy

        def ask(request: int) -> None:
            for one in asked:
                is_known = same and one.edition == before.edition
                rules = None if is_known else policy.policy
                one.child.send(NewPolicy(request=request, policy=rules, told=policy.told))

        def prepared(gathering: Gathering[object]) -> None:
            refusals = [a for a in gathering.answers.values() if isinstance(a, PolicyRefused)]
            if refusals:
                self._done(refusals[0].problems)
                return
            self._enforce([one for one in asked if one in gathering.answers])

        self._begin(asked, ask, prepared, _PREPARE_SECONDS)

    def _enforce(self, ready: list[Enforcement]) -> None:
        # Whoever comes from now on is given the new policy, and who is missing here gets it then.
        self._tree.staff.policy = self._policy

        def ask(request: int) -> None:
            for one in ready:
                one.child.send(Enforce(request=request))

        def enforced(_gathering: Gathering[object]) -> None:
            self._tree.staff.bring_all_up_to_date()
            self._done(())

        self._begin(ready, ask, enforced, _ENFORCE_SECONDS)

    def _begin(
        self,
        asked: list[Enforcement],
        ask: Callable[[int], None],
        done: Callable[[Gathering[object]], None],
        seconds: float,
    ) -> None:
        """Ask, and wait for those who judge: one in reserve that hangs holds up no policy."""
        self._tree.gatherings.begin(
            asked,
            ask,
            done,
            patience_seconds=seconds,
            is_needed=lambda who: who not in {one for one in asked if one.duty is Duty.STANDING_BY},
        )
