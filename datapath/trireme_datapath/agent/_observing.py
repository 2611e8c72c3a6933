"""One switch for all: whether an agent enforces its policy, or only observes what it would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from msgspec import Struct, structs

from trireme_collector.control import (
    ControlCommand,
    Later,
    ObserveArguments,
    ObserveResult,
)
from trireme_collector.records import TraceReport

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.control import Peer
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.policy.model import Policy

__all__ = ["ObserveMode", "observe_command", "switch_report"]

_PATIENCE_SECONDS: Final = 60.0  # a policy of some hundred thousand rules takes a few seconds
_ASKED: Final = {"on": True, "off": False, "configured": None}

_log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.control")


class ObserveMode(Struct, frozen=True, kw_only=True, gc=False):
    """What says whether everything is only observed.

    Attributes:
        policy: Whether the policy file says so.
        configuration: Whether the configuration says so.
        asked: What somebody asked for over the control socket; it counts more than both files.
            None if nobody did.
        asked_uid: Who.
    """

    policy: bool = False
    configuration: bool = False
    asked: bool | None = None
    asked_uid: int = -1

    @property
    def on(self) -> bool:
        """Whether everything is only observed."""
        return self.policy or self.configuration if self.asked is None else self.asked

    @property
    def by(self) -> str:
        """Name what decides; empty if nothing ever spoke of observing."""
        if self.asked is not None:
            return "control"
        return "configuration" if self.configuration else "policy" if self.policy else ""

    def applied(self, policy: Policy) -> Policy:
        """Give the policy as it is to be put in force."""
        return structs.replace(policy, observe_only=self.on)


def switch_report(
    before: CompiledPolicy | None, after: CompiledPolicy, mode: ObserveMode
) -> TraceReport | None:
    """Give the record of a switch between enforcing and observing, None if there was none.

    Args:
        before: The policy that was in force; None at the start, when enforcing goes without saying.
        after: The policy in force now.
        mode: What decided.
    """
    if after.observe_only == (before is not None and before.observe_only):
        return None
    parts = [f"observe={'on' if after.observe_only else 'off'}", f"by={mode.by or 'files'}"]
    if mode.asked is not None:
        parts.append(f"uid={mode.asked_uid}")
    parts.append(f"policy_revision={after.revision}")
    if before is not None:
        parts.append(f"policy_revision_before={before.revision}")
    return TraceReport(lines=("trireme-collector " + " ".join(parts),))


def observe_command(
    ask: Callable[[bool | None, int], Future[ObserveResult]],
) -> ControlCommand[ObserveArguments, ObserveResult]:
    """Make the command ``observe``.

    Args:
        ask: Has the mode switched, for somebody with a user id.
    """

    def handle(arguments: ObserveArguments, peer: Peer) -> Later[ObserveResult]:
        _log.warning("observe_asked", uid=peer.uid, pid=peer.pid, mode=arguments.mode)
        future = ask(_ASKED[arguments.mode], peer.uid)
        return Later(future, lambda result: result, patience_seconds=_PATIENCE_SECONDS)

    return ControlCommand(
        name="observe",
        summary="Only observe what the policy would reject, or enforce it.",
        arguments=ObserveArguments,
        result=ObserveResult,
        handler=handle,
    )
