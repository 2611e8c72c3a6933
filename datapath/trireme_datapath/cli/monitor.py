"""`trireme-collector monitor`: print the notifications of a datapath as Cilium prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Generator

    from trireme_datapath.cli._monitor_output import MonitorPrinter
    from trireme_datapath.monitor import EventFilter
    from trireme_datapath.monitor.sources import Event

__all__ = ["monitor"]

_TYPES = "agent, capture, debug, drop, l7, policy-verdict, recorder, trace, trace-sock"
_HEX_HELP = "With -vv: dump packets instead of dissecting them."
_JSON_HELP = (
    "Print JSON, one message per line. Types that Cilium has no JSON for stay text, unless --fixed"
    " is given."
)
_FORMS = ("auto", "hex", "length", "raw", "session")


@click.command()
@click.option(
    "--input",
    "input_path",
    metavar="FILE",
    help="Read recorded messages from FILE, or from standard input with -.",
)
@click.option(
    "--socket",
    "socket_path",
    metavar="PATH",
    envvar="CILIUM_MONITOR_SOCK",
    help="Attach to an agent: that of Cilium, or one of ours that publishes its decisions."
    "  [default: /var/run/cilium/monitor1_2.sock]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMS),
    default="auto",
    show_default=True,
    help="How messages stand in FILE: lines of hex, lengths in front, a single raw message, or"
    " the session of a socket.",
)
@click.option(
    "--profile",
    type=click.Choice(["1.16", "1.9"]),
    default="1.16",
    show_default=True,
    help="The version of Cilium that messages are read and printed as.",
)
@click.option("-v", "verbose", count=True, help="Print debug messages, too; -vv: whole packets.")
@click.option("--hex", "hexadecimal", is_flag=True, help=_HEX_HELP)
@click.option("-j", "--json", "as_json", is_flag=True, help=_JSON_HELP)
@click.option("-n", "--numeric", is_flag=True, help="Print identities as numbers.")
@click.option(
    "-t",
    "--type",
    "types",
    multiple=True,
    metavar="NAME",
    help=f"Only messages of this type; may be given several times. One of {_TYPES}.",
)
@click.option(
    "--from", "sources", multiple=True, metavar="ID", help="Only from this endpoint; repeatable."
)
@click.option(
    "--to", "destinations", multiple=True, metavar="ID", help="Only to this endpoint; repeatable."
)
@click.option(
    "--related-to",
    "related",
    multiple=True,
    metavar="ID",
    help="Only from or to this endpoint; repeatable.",
)
@click.option("--time", "with_time", is_flag=True, help="Print when each message came.")
@click.option("--stats", is_flag=True, help="Print what was seen and lost at the end.")
@click.option(
    "--follow/--no-follow",
    default=None,
    help="Wait: for more in FILE, or for an agent that is not there yet. Without either, FILE is"
    " read to its end, and an agent that goes away is waited for.",
)
@click.option(
    "--fixed",
    is_flag=True,
    help="Print what people want instead of exactly what Cilium prints: JSON for every type,"
    " escapes, packets of devices without Ethernet.",
)
@click.pass_context
def monitor(  # noqa: PLR0913  a parameter for each option
    ctx: click.Context,
    *,
    input_path: str | None,
    socket_path: str | None,
    form: str,
    profile: str,
    verbose: int,
    types: tuple[str, ...],
    sources: tuple[str, ...],
    destinations: tuple[str, ...],
    related: tuple[str, ...],
    hexadecimal: bool,
    as_json: bool,
    numeric: bool,
    with_time: bool,
    stats: bool,
    follow: bool | None,
    fixed: bool,
) -> None:
    """Print the notifications of a datapath: drops, policy verdicts, traces and more.

    They come from a running agent or from a recording. The text is that of `cilium monitor`,
    byte for byte. Ctrl-C or SIGTERM ends it.
    """
    import signal
    import socket
    import sys

    from trireme_datapath.cli._monitor_output import MonitorPrinter
    from trireme_datapath.monitor import Formatter

    explicit = ctx.get_parameter_source("socket_path")
    if input_path is not None:
        if socket_path is not None and explicit is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError("--input and --socket exclude each other.")
        socket_path = None
    chosen = _filter(profile, types, sources, destinations, related)
    formatter = Formatter(
        profile=profile,
        mode="json" if as_json else {1: "debug", 2: "verbose"}.get(verbose, "info"),
        # What was recorded elsewhere has other interfaces.
        ifnames=dict(socket.if_nameindex()) if input_path is None else {},
        filter=chosen,
        fixed=fixed,
        numeric=numeric,
        hexadecimal=hexadecimal,
    )
    printer = MonitorPrinter(formatter, sys.stdout.buffer, as_json=as_json, with_time=with_time)
    if input_path is not None:
        events = _from_file(input_path, form, follow=bool(follow), keep_previous=not fixed)
    else:
        events = _from_socket(socket_path, follow=follow, keep_previous=not fixed)
    interrupted = False
    # A service manager ends it as Ctrl-C does, and sees the statistics, too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for batch in events:
            printer.put(batch)
        if input_path is not None:
            _require_messages(printer, input_path)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        signal.signal(signal.SIGTERM, before)
        events.close()
        if stats:
            printer.print_statistics()
    # Whoever watches what has no end ends it so; only a file was cut short.
    if interrupted and input_path is not None and not follow:
        ctx.exit(ExitCode.INTERRUPTED)


def _require_messages(printer: MonitorPrinter, path: str) -> None:
    from trireme_datapath.monitor.sources import InputError, SourceFault

    damaged = printer.faults.get(SourceFault.DAMAGED, 0)
    if damaged and not printer.statistics().messages:
        name = "standard input" if path == "-" else path
        msg = f"{name} holds no message, but {damaged:,} damaged places; check --format"
        raise InputError(msg)


def _filter(
    profile: str,
    types: tuple[str, ...],
    sources: tuple[str, ...],
    destinations: tuple[str, ...],
    related: tuple[str, ...],
) -> EventFilter:
    from trireme_collector.errors import ConfigError
    from trireme_collector.strict_toml import nearest
    from trireme_datapath.monitor import event_filter, get_all_types

    known = get_all_types(profile)
    for name in types:
        if name not in known:
            near = nearest(name, known)
            hint = f" (did you mean {near}?)" if near else ""
            msg = f"found {name!r}, expected one of {', '.join(known)}{hint}."
            raise click.BadParameter(msg, param_hint="--type")
    options = (("--from", sources), ("--to", destinations), ("--related-to", related))
    for option, numbers in options:
        for number in numbers:
            try:
                event_filter(sources=[number], profile=profile)
            except ConfigError as error:
                msg = f"found {number!r}, expected the number of an endpoint, 0 to 65535."
                raise click.BadParameter(msg, param_hint=option) from error
    return event_filter(
        types=types,
        sources=sources,
        destinations=destinations,
        related=related,
        profile=profile,
    )


def _from_file(
    path: str, form: str, *, follow: bool, keep_previous: bool
) -> Generator[list[Event]]:
    from trireme_datapath.monitor.sources import FileSource, InputForm

    source = FileSource(path, form=InputForm(form), follow=follow, keep_previous=keep_previous)
    source.open()
    try:
        yield from source.events()
    finally:
        source.close()


def _from_socket(
    path: str | None, *, follow: bool | None, keep_previous: bool
) -> Generator[list[Event]]:
    from trireme_datapath.monitor.sources import (
        DEFAULT_SOCKET,
        InputError,
        MonitorSocket,
        SourceError,
        SourceFault,
    )

    path = path or DEFAULT_SOCKET
    source = MonitorSocket(path, keep_previous=keep_previous).open()
    click.echo("Press Ctrl-C to quit", err=True)
    try:
        for events in source.events(reconnect=follow is not False):
            first = events[0]
            if (
                isinstance(first, SourceError)
                and first.fault is SourceFault.UNREACHABLE
                and not (follow or source.counters["connections"])
            ):
                msg = f"{first.message}; start the agent, give another --socket, or --follow"
                raise InputError(msg)
            yield events
    finally:
        source.close()
