"""`trireme-collector sqlite-flows`: who talked to whom, most first."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import click
from trireme_collector import ConfigError
from trireme_collector.cli.output import json_option, print_json, printable, table

__all__ = ["sqlite_flows"]

_QUERY = """
SELECT sum(count) AS flows, action, source_ip, destination_ip, destination_port, policy_id,
    drop_reason
FROM flow
WHERE ? IN ('', action)
GROUP BY action, source_ip, destination_ip, destination_port, policy_id, drop_reason
ORDER BY flows DESC, source_ip, destination_ip, destination_port
LIMIT ?
"""
_KEYS = (
    "flows",
    "action",
    "source_ip",
    "destination_ip",
    "destination_port",
    "policy_id",
    "drop_reason",
)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--action", type=click.Choice(["accept", "reject"]), help="Only these flows.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many."
)
@json_option
def sqlite_flows(path: Path, action: str | None, limit: int, *, as_json: bool) -> None:
    """List who talked to whom, most first, from the database at PATH."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as db:
            rows = db.execute(_QUERY, (action or "", limit)).fetchall()
    except sqlite3.Error as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error}; check the path") from error
    if as_json:
        print_json({"flows": [dict(zip(_KEYS, row, strict=True)) for row in rows]})
        return
    head = ("FLOWS", "ACTION", "SOURCE", "DESTINATION", "PORT", "POLICY", "REASON")
    click.echo(table(head, [[printable(str(cell)) for cell in row] for row in rows]))
