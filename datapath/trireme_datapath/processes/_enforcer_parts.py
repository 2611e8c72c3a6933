"""The parts that an enforcer puts together, as the supervisor told it to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.backends.netlink import MAX_BATCHES, OPENING_BATCHES, NetlinkBackend
from trireme_datapath.backends.paced import PacedBackend
from trireme_datapath.engine import Engine
from trireme_datapath.policy import compile_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_datapath.backends.netlink import NetlinkQueue
    from trireme_datapath.processes._enforcer_messages import EnforcerSetup
    from trireme_datapath.processes._follow import Follower

__all__ = ["build_backends", "build_engine", "build_follower"]


def build_engine(setup: EnforcerSetup) -> Engine:
    """Compile the policy, and have an engine judge by it that notes what is wanted."""
    engine = Engine(
        compile_policy(setup.policy, setup.told),
        setup.limits,
        refuse_mark=setup.refuse_mark,
        accept_mark=setup.accept_mark,
    )
    if setup.dns is not None:
        engine.observe_dns(setup.dns)
    if setup.connection_exceptions:
        engine.report_exceptions()
    if setup.accounting is not None and setup.accountant:
        engine.leave_counting(report_opened=setup.accounting.report_opened)
    return engine


def build_follower(setup: EnforcerSetup, engine: Engine) -> Follower | None:
    """Prepare to follow the connections of an engine; None where they are not followed."""
    if setup.accounting is None:
        return None
    from trireme_datapath.processes._follow import Follower  # noqa: PLC0415  not everybody needs it

    return Follower(setup.accounting, engine, shared=len(setup.slots) > 1)


def build_backends(
    setup: EnforcerSetup, queues: Sequence[NetlinkQueue], engine: Engine
) -> list[NetlinkBackend | PacedBackend]:
    """Feed the queues of a slot to an engine.

    Args:
        setup: How.
        queues: That of every packet; perhaps a second one, for packets that open connections: the
            others do not wait for them.
        engine: Who judges.

    Raises:
        DatapathError: The kernel gives no timer.
    """
    backends: list[NetlinkBackend | PacedBackend] = []
    for place, queue in enumerate(queues):
        most = OPENING_BATCHES if place else MAX_BATCHES
        backend = NetlinkBackend(queue, engine, max_batches=most)
        paced = place and setup.opening_rate
        backends.append(PacedBackend(backend, setup.opening_rate) if paced else backend)
    return backends
