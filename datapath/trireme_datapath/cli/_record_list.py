"""`trireme-collector record list`: the recordings that a recorder has."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import click

from trireme_collector.cli.output import json_option, print_json, printable, table
from trireme_datapath.cli._record_options import client_of, server_options

if TYPE_CHECKING:
    from trireme_datapath.recorder import RecordingEntry

__all__ = ["list_recordings"]


@click.command("list")
@server_options
@json_option
def list_recordings(*, as_json: bool, server: str | None, **tls: str) -> None:
    """List the recordings that a recorder has, the oldest first."""
    import msgspec

    with client_of(server, **tls) as client:
        found = client.list()
    if as_json:
        print_json({"recordings": [msgspec.to_builtins(one) for one in found]})
        return
    click.echo(table(["NAME", "STATE", "PACKETS", "SIZE", "CHANGED", "WHO"], _rows(found)))


def _rows(found: tuple[RecordingEntry, ...]) -> list[list[str]]:
    from datetime import datetime

    from trireme_datapath.cli._record_quantities import size_text

    return [
        [
            printable(one.name),
            "running" if one.running else "finished",
            f"{one.statistics.packets_captured:,}" if one.statistics is not None else "",
            size_text(one.size_bytes),
            datetime.fromtimestamp(one.modified_ns // 1_000_000_000, UTC).strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            ),
            printable(one.who),
        ]
        for one in found
    ]
