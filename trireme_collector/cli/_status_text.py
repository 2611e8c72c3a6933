"""The status of an agent for people: one screen, aligned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trireme_collector.cli.output import printable, table
from trireme_collector.control import AgentState
from trireme_collector.formats import format_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trireme_collector.control import AgentStatus, PacketStatus
    from trireme_collector.delivery import CollectorStatus, SpoolHealth
    from trireme_collector.pipeline import PipelineStatus

__all__ = ["account_lines", "status_text"]

_NANOSECONDS = 1_000_000_000
_HEAD = ("COLLECTOR", "ACCEPTED", "DELIVERED", "DEAD-LETTERED", "DROPPED", "WAITING", "STATE")
_COLORS = {
    AgentState.RUNNING: "green",
    AgentState.DEGRADED: "yellow",
    AgentState.DRAINING: "yellow",
}


def status_text(status: AgentStatus) -> str:
    """Write a status over a few lines, with colour."""
    return "\n".join(_lines(status))


def account_lines(accounts: Sequence[CollectorStatus]) -> Iterator[str]:
    """Write the account of each collector as a row, and below it what needs words."""
    if not accounts:
        yield "no collector"
        return
    numbers = [(a.accepted, a.delivered, a.dead_lettered, a.dropped, a.queued) for a in accounts]
    widths = [
        max(len(title), *(len(str(row[column])) for row in numbers))
        for column, title in enumerate(_HEAD[1:-1])
    ]
    rows = [
        (
            printable(account.name),
            *(str(n).rjust(width) for n, width in zip(row, widths, strict=True)),
            _state(account),
        )
        for account, row in zip(accounts, numbers, strict=True)
    ]
    head = (
        _HEAD[0],
        *(title.rjust(width) for title, width in zip(_HEAD[1:-1], widths, strict=True)),
        _HEAD[-1],
    )
    yield table(head, rows)
    for account in accounts:
        reasons = account.dropped_by_reason.items()
        if account.dropped:
            said = ", ".join(f"{printable(why)} {count}" for why, count in sorted(reasons))
            yield f"  {printable(account.name)} dropped: {said}"
        if account.spool is not None:
            yield from _spool_lines(printable(account.name), account.spool)
        if account.last_error and (account.retrying or account.credentials_refused):
            yield f"  {printable(account.name)} last error: {printable(account.last_error)}"


def _spool_lines(name: str, spool: SpoolHealth) -> Iterator[str]:
    yield (
        f"  {name} waits on disk: {spool.size_bytes} bytes; records not written yet"
        f" {spool.unwritten}, not synced yet {spool.undurable}"
    )
    failures = [
        (spool.write_failures, "writes"),
        (spool.sync_failures, "syncs"),
        (spool.read_failures, "reads"),
        (spool.state_failures, "writes of the account"),
        (spool.damaged, "damaged places"),
    ]
    said = ", ".join(f"{what} {count}" for count, what in failures if count)
    if said:
        error = f"; last: {printable(spool.last_error)}" if spool.last_error else ""
        yield f"  {name} disk failures: {said}{error}"


def _lines(status: AgentStatus) -> Iterator[str]:
    records, policy = status.records, status.policy
    state = click.style(status.state.value, fg=_COLORS.get(status.state), bold=True)
    since = _seconds((status.time_ns - records.epoch) // _NANOSECONDS)
    yield f"{state}  {printable(records.instance)}  for {since}"
    for reason in status.reasons:
        yield f"  {click.style('!', fg='yellow', bold=True)} {printable(reason)}"
    for problem in policy.refused:
        yield f"      {printable(problem)}"
    yield (
        f"since    {format_rfc3339(records.epoch)}, epoch {records.epoch}; process {status.pid},"
        f" version {printable(status.program_version)}"
    )
    if policy.file:
        yield (
            f"policy   {printable(policy.file)}, revision {printable(policy.revision)},"
            f" in force since {format_rfc3339(policy.loaded_ns)}"
        )
        if policy.observe_by:
            mode = click.style("observed only", fg="yellow") if policy.observe_only else "enforced"
            yield f"         {mode}, by {printable(policy.observe_by)}"
        yield from _packet_lines(status.packets)
    else:  # an agent that judges nothing
        counts = status.packets.counters.items()
        yield f"counts   {', '.join(f'{printable(name)} {count}' for name, count in counts)}"
    for check in status.health:
        word = click.style("ok", fg="green") if check.ok else click.style("BAD", fg="red")
        yield f"health   {printable(check.name)} {word}: {printable(check.detail)}"
    yield _intake_line(records)
    yield from _process_lines(status)
    yield ""
    yield from account_lines(records.collectors)
    for lookup in records.lookups:
        failed = f", last error: {printable(lookup.last_error)}" if lookup.last_error else ""
        yield (
            f"look-up  {printable(lookup.name)}: known {lookup.hits}, asked {lookup.misses},"
            f" failed {lookup.failures}, kept {lookup.entries}{failed}"
        )


def _packet_lines(packets: PacketStatus) -> Iterator[str]:
    counters = packets.counters
    moment = "" if packets.exact else " (while they change: the packet loop does not turn)"
    yield (
        f"packets  judged {packets.judged}, denied {packets.denied};"
        f" flows accepted {counters.get('flows_accepted', 0)},"
        f" rejected {counters.get('flows_rejected', 0)}{moment}"
    )
    if packets.queue is not None:
        queue = packets.queue
        yield (
            f"queue {queue.number:<3}received {queue.received}, waiting {queue.waiting}; dropped by"
            f" the kernel: queue full {queue.dropped_full}, socket full {queue.dropped_socket}"
        )
    if packets.settled:
        yield f"         in the hands of processes that died: {packets.settled}"


def _process_lines(status: AgentStatus) -> Iterator[str]:
    for process in status.processes:
        deaths = f", replaced {process.deaths} times" if process.deaths else ""
        other = process.policy_revision not in {"", status.policy.revision}
        by = f", by policy {printable(process.policy_revision)}" if other else ""
        yield f"process  {printable(process.name)}: {process.pid}, {process.state}{deaths}{by}"
    crossing = status.crossing
    if crossing is not None:
        yield (
            f"crossing records made {crossing.made}, sent {crossing.sent}, taken {crossing.taken},"
            f" waiting {crossing.waiting}; dropped for want of room {crossing.dropped}, died with a"
            f" process {crossing.lost}"
        )


def _intake_line(records: PipelineStatus) -> str:
    return (
        f"flows    received {records.flows_received}, merged {records.flows_merged},"
        f" pending {records.flows_pending}, evicted early {records.flows_evicted};"
        f" records numbered {records.sequence}, malformed {records.malformed}"
    )


def _state(account: CollectorStatus) -> str:
    if account.credentials_refused:
        return click.style("credentials refused", fg="red")
    if account.retrying:
        return click.style("retrying", fg="yellow")
    return "ok"


def _seconds(seconds: int) -> str:
    days, rest = divmod(max(0, seconds), 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    said = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(said[:2]) or "0 s"
