"""The table, and a flow as one of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.formats import escape_text, record_time_ns, render_json_line

if TYPE_CHECKING:
    from trireme_collector import FlowRecord

__all__ = ["CREATE", "INSERT", "TRIM", "row"]

CREATE = """
CREATE TABLE IF NOT EXISTS flow (
    id INTEGER PRIMARY KEY,
    instance TEXT NOT NULL,
    epoch TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    action TEXT NOT NULL,
    source_ip TEXT NOT NULL,
    destination_ip TEXT NOT NULL,
    destination_port INTEGER NOT NULL,
    policy_id TEXT NOT NULL,
    drop_reason TEXT NOT NULL,
    count INTEGER NOT NULL,
    record BLOB NOT NULL,
    UNIQUE (instance, epoch, sequence)
)
"""
# The identity of a record: what comes a second time is there already.
INSERT = """
INSERT OR IGNORE INTO flow (
    instance, epoch, sequence, time_ns, action, source_ip, destination_ip, destination_port,
    policy_id, drop_reason, count, record
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
TRIM = "DELETE FROM flow WHERE id <= (SELECT max(id) FROM flow) - ?"

_LARGEST = 2**63 - 1  # of an integer in SQLite


def row(record: FlowRecord) -> tuple[str | int | bytes, ...]:
    """Give the values of a flow, in the order of `INSERT`."""
    sequence = record.sequence if isinstance(record.sequence, int) else 0
    return (
        escape_text(record.instance if isinstance(record.instance, str) else ""),
        str(record.epoch if isinstance(record.epoch, int) else 0),
        min(sequence, _LARGEST),
        min(record_time_ns(record) or 0, _LARGEST),
        record.action.name.lower(),
        escape_text(record.source.ip),
        escape_text(record.destination.ip),
        record.destination.port,
        escape_text(record.policy_id),
        escape_text(record.drop_reason),
        min(record.count, _LARGEST),
        render_json_line(record).rstrip(b"\n"),
    )
