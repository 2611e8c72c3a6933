"""`trireme-collector record`: record packets to files, here or at a recorder."""

from __future__ import annotations

import click

from trireme_datapath.cli._record_fetch import fetch
from trireme_datapath.cli._record_list import list_recordings
from trireme_datapath.cli._record_serve import serve
from trireme_datapath.cli._record_start import start
from trireme_datapath.cli._record_stop import stop

__all__ = ["record"]


@click.group()
def record() -> None:
    """Record packets to capture files.

    `start` records at a recorder, or on this host without one; `serve` is the recorder.
    """


for _command in (start, list_recordings, stop, fetch, serve):
    record.add_command(_command)
