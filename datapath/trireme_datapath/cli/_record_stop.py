"""`trireme-collector record stop`: end a recording of a recorder."""

from __future__ import annotations

import click

from trireme_collector.cli.output import json_option, print_json, printable
from trireme_datapath.cli._record_options import client_of, server_options

__all__ = ["stop"]


@click.command(short_help="End a recording, whoever began it.")
@click.argument("name")
@server_options
@json_option
def stop(name: str, *, as_json: bool, server: str | None, **tls: str) -> None:
    """End the recording NAME, as `record list` shows it, whoever began it."""
    import msgspec

    from trireme_datapath.cli._record_progress import statistics_text

    with client_of(server, **tls) as client:
        path, statistics = client.stop(name)
    if as_json:
        print_json({"path": path, "statistics": msgspec.to_builtins(statistics)})
    else:
        click.echo(f"{statistics_text(statistics)}\n{printable(path)}")
