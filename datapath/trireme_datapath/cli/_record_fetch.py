"""`trireme-collector record fetch`: bring a recording here."""

from __future__ import annotations

import os

import click

from trireme_collector.cli.output import json_option, print_json
from trireme_datapath.cli._record_options import client_of, server_options

__all__ = ["fetch"]


@click.command()
@click.argument("name")
@click.option(
    "-w",
    "--write",
    "path",
    metavar="FILE",
    help="Where to write, - for standard output; NAME in this directory if not given.",
)
@click.option("--follow", is_flag=True, help="Go on while the recording runs, until it ends.")
@server_options
@json_option
def fetch(
    name: str, path: str | None, *, follow: bool, as_json: bool, server: str | None, **tls: str
) -> None:
    """Bring the recording NAME here.

    A recording that runs is given as far as it is written; with --follow, to its end.
    """
    from trireme_datapath.recorder._local import open_output

    target = path or name.rpartition("/")[2]
    size = 0
    with client_of(server, **tls) as client:
        chunks = client.fetch(name, follow=follow)
        # The first one is waited for: a name that is wrong leaves no file behind.
        first = next(chunks, b"")
        descriptor = open_output(target)
        try:
            size += _write(descriptor, first)
            for data in chunks:
                size += _write(descriptor, data)
        finally:
            os.close(descriptor)
    if as_json:
        print_json({"path": target, "size_bytes": size}, err=target == "-")
    elif target != "-":
        click.echo(f"{size:,} bytes written to {target}")


def _write(descriptor: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)
