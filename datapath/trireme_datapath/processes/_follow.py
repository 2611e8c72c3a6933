"""How an enforcer follows the connections that it accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.errors import DatapathError
from trireme_datapath.accounting import AccountLimits
from trireme_datapath.kernel.conntrack import (
    ConnectionTracker,
    TrackerSettings,
    enable_accounting,
    is_local_address,
)
from trireme_datapath.kernel.marks import ConnectionMark

if TYPE_CHECKING:
    from trireme_datapath.engine import Engine
    from trireme_datapath.processes._messages import AccountingSetup

__all__ = ["follow_connections"]


def follow_connections(
    setup: AccountingSetup, engine: Engine
) -> tuple[ConnectionTracker | None, list[str]]:
    """Let the kernel count connections, and follow them for the account of an engine.

    Returns:
        Who follows them, None if it is impossible, and one sentence for whatever is.
    """
    problems = enable_accounting()
    mark = ConnectionMark(mask=setup.mark_mask) if setup.mark_mask else None
    settings = TrackerSettings(
        list_seconds=setup.list_seconds,
        event_buffer_bytes=setup.event_buffer_bytes,
        reliable=setup.reliable,
    )
    try:
        sockets = ConnectionTracker.sockets(settings)
    except DatapathError as error:
        return None, [*problems, str(error)]
    limits = AccountLimits(update_seconds=setup.update_seconds, max_evicted=setup.max_evicted)
    account = engine.keep_account(limits, mark=mark, is_local=is_local_address)
    return ConnectionTracker(account, *sockets, settings, mark), problems
