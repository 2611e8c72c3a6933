"""`trireme-collector record serve`: the recorder, for clients of ours and those of Hubble."""

from __future__ import annotations

import click

from trireme_collector.cli.output import json_option, print_json
from trireme_collector.exit_codes import ExitCode

__all__ = ["serve"]


@click.command(short_help="Record packets for clients, in the foreground.")
@click.option(
    "-c",
    "--config",
    "config_path",
    metavar="FILE",
    help="A file with a section [recorder]; that of an agent will do.",
)
@json_option
@click.pass_context
def serve(ctx: click.Context, config_path: str | None, *, as_json: bool) -> None:
    """Record packets for clients, in the foreground, until SIGTERM or Ctrl-C.

    The socket is for the owner and a group. Who recorded what is written to audit.jsonl in the
    directory of the recordings. The log goes to standard error.
    """
    import signal

    from trireme_datapath.cli._logging import configure_logging
    from trireme_datapath.recorder import RecorderConfig, load_recorder_config
    from trireme_datapath.recorder.server import RecorderServer

    configure_logging(as_json=as_json, color=ctx.color)
    config = load_recorder_config(config_path) if config_path else RecorderConfig()
    # Before any thread is there, so that all leave these signals to this one.
    signals = {signal.SIGTERM, signal.SIGINT}
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        with RecorderServer(config) as server:
            number = signal.sigwait(signals)
            counted = server.recordings
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    if as_json:
        print_json({"report": {"recordings": counted}}, indent=False)
    else:
        click.echo(f"{counted} recordings were made")
    if number == signal.SIGINT:
        ctx.exit(ExitCode.INTERRUPTED)
