"""`trireme-collector observe`: watch the flows of an agent as `hubble observe` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trireme_collector.exit_codes import ExitCode
from trireme_datapath.cli._observe_flags import ObserveCommand, filter_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_datapath.observer import FlowFilter, FlowsRequest
    from trireme_datapath.observer.lines import LineReader
    from trireme_datapath.observer.printer import FlowPrinter

__all__ = ["observe"]

_FORMS = ("compact", "dict", "json", "jsonpb", "table")
_DEFAULT_SERVER = "unix:///run/trireme-collector/observer.sock"
_DEFAULT_LAST = 20
_EVERYTHING = (1 << 64) - 1
_WHEN = "how long ago, such as 5m, or a time, such as 2026-01-31T09:30Z"
_TIME_FORMATS = (
    "StampMilli",
    "YearMonthDay",
    "YearMonthDayHour",
    "YearMonthDayHourMinute",
    "RFC3339",
    "RFC3339Milli",
    "RFC3339Micro",
    "RFC3339Nano",
    "RFC1123Z",
)


@click.command(cls=ObserveCommand)
@click.option("--all", "everything", is_flag=True, help="All flows that are kept.")
@click.option(
    "--last", type=click.IntRange(min=0), default=0, help="The last N flows.", metavar="N"
)
@click.option(
    "--first", type=click.IntRange(min=0), default=0, help="The first N flows.", metavar="N"
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", metavar="WHEN", help=f"Nothing before: {_WHEN}.")
@click.option("--until", metavar="WHEN", help="Nothing after.")
@click.option(
    "--not", "negated", count=True, help="Turn the filter behind it round: what fits is left out."
)
@filter_options
@click.option("--allowlist", multiple=True, metavar="JSON", help="A FlowFilter that must fit.")
@click.option("--denylist", multiple=True, metavar="JSON", help="A FlowFilter that must not fit.")
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice([*_FORMS, "tab", "JSON"]),
    default="compact",
    show_default=True,
    metavar="FORM",
    help=f"One of {', '.join(_FORMS)}.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@click.option(
    "--time-format",
    type=click.Choice(_TIME_FORMATS, case_sensitive=False),
    default="StampMilli",
    show_default=True,
    metavar="NAME",
    help="How times are printed.",
)
@click.option("--print-node-name", is_flag=True, help="Print where flows were seen, too.")
@click.option("--print-policy-names", is_flag=True, help="Print which policies decided, too.")
@click.option(
    "--ip-translation/--no-ip-translation",
    default=True,
    help="Print names in place of addresses where there are some.",
)
@click.option("--numeric", is_flag=True, help="The same as --no-ip-translation.")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="When to colour compact and dict.",
)
@click.option(
    "--field-mask",
    metavar="PATHS",
    help="Only these fields, such as source.identity,verdict; with JSON.",
)
@click.option(
    "--server",
    envvar=["TRIREME_OBSERVER", "HUBBLE_SERVER"],
    default=_DEFAULT_SERVER,
    show_default=True,
    metavar="ADDRESS",
    help="Whom to ask: unix:///PATH, or HOST:PORT with TLS.",
)
@click.option(
    "--tls-ca-cert-files",
    "ca_file",
    default="",
    metavar="FILE",
    help="Whose certificates to trust.",
)
@click.option(
    "--tls-server-name",
    "server_name",
    default="",
    metavar="NAME",
    help="The name in the server's certificate.",
)
@click.option(
    "--tls-client-cert-file",
    "certificate_file",
    default="",
    metavar="FILE",
    help="Our certificate.",
)
@click.option("--tls-client-key-file", "key_file", default="", metavar="FILE", help="Its key.")
@click.option(
    "--input-file",
    metavar="FILE",
    help="Read records, or what -o json printed, from FILE or with - from standard input.",
)
@click.option("-s", "--silent-errors", is_flag=True, help="Do not complain about broken lines.")
@click.option("--print-raw-filters", is_flag=True, help="Print the filters as JSON and ask nobody.")
@click.pass_context
def observe(ctx: click.Context, /, **options: Any) -> None:  # noqa: ANN401  one for each option
    """Print the flows of a running agent, or those of a file.

    Without anything else these are the last 20. A flow is printed if it fits all filters; a filter
    that is given several times fits if one of its values does.
    """
    from trireme_datapath.observer.lines import LineReader
    from trireme_datapath.observer.reader import RequestError

    request = _request(ctx, options)
    if options["print_raw_filters"]:
        _print_filters(request)
        return
    printer = _printer(ctx, options, is_following=request.follow)
    interrupted = False
    try:
        if options["input_file"] is None:
            for response in _from_server(request, options):
                printer.put(response)
        else:
            reader = LineReader(request)
            for response in reader.responses(_lines(options["input_file"])):
                printer.put(response)
            if reader.broken and not options["silent_errors"]:
                _complain(reader)
    except RequestError as error:
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        interrupted = True
    finally:
        printer.close()
    # Who follows ends it so; what has an end was cut short.
    if interrupted and not request.follow:
        ctx.exit(ExitCode.INTERRUPTED)


def _complain(reader: LineReader) -> None:
    from trireme_datapath.monitor.sources import InputError

    if not reader.read:
        msg = (
            f"none of {reader.broken:,} lines is a record or a flow; --input-file reads JSON lines"
            " that a collector wrote, or what observe -o json printed"
        )
        raise InputError(msg)
    click.echo(f"broken lines: {reader.broken:,}", err=True)


def _request(ctx: click.Context, options: dict[str, Any]) -> FlowsRequest:
    from trireme_datapath.observer import FlowsRequest

    first, last, follow = options["first"], options["last"], options["follow"]
    excluded = (
        (first and last, "--first and --last"),
        (first and options["everything"], "--first and --all"),
        (first and follow, "--first and --follow"),
        (last and options["everything"], "--last and --all"),
        (follow and options["input_file"], "--follow and --input-file"),
    )
    for both, names in excluded:
        if both:
            raise click.UsageError(f"{names} exclude each other.")
    since_ns = _moment("--since", options["since"])
    # What is followed has no end that one could give beforehand.
    until_ns = None if follow else _moment("--until", options["until"])
    if since_ns is None and until_ns is None and not first:
        if options["everything"]:
            last = _EVERYTHING
        elif not (last or follow or options["input_file"]):
            last = _DEFAULT_LAST
    allow, deny = _filters(ctx, options)
    return FlowsRequest(
        number=first or last,
        first=bool(first),
        follow=follow,
        since_ns=since_ns,
        until_ns=until_ns,
        allow=allow,
        deny=deny,
    )


def _moment(option: str, text: str | None) -> int | None:
    import time

    from trireme_datapath.observer._times import parse_when

    if text is None:
        return None
    found = parse_when(text, time.time_ns())
    if found is None:
        raise click.BadParameter(f"found {text!r}, expected {_WHEN}.", param_hint=option)
    return found


def _filters(
    ctx: click.Context, options: dict[str, Any]
) -> tuple[tuple[FlowFilter, ...], tuple[FlowFilter, ...]]:
    import msgspec

    from trireme_datapath.cli._observe_filters import FilterFlags
    from trireme_datapath.observer import compile_filters, read_filter

    flags = FilterFlags()
    try:
        for name, value in ctx.meta.get(ObserveCommand.FLAGS, ()):
            flags.put(name, value)
        allow, deny = flags.filters()
        raw = [
            tuple(read_filter(msgspec.json.decode(text)) for text in options[name])
            for name in ("allowlist", "denylist")
        ]
        allow, deny = (*allow, *raw[0]), (*deny, *raw[1])
        compile_filters(allow, deny)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    return allow, deny


def _print_filters(request: FlowsRequest) -> None:
    from trireme_datapath.observer import filter_fields
    from trireme_datapath.observer.json_form import encode_json

    for name, filters in (("allowlist", request.allow), ("denylist", request.deny)):
        if filters:
            click.echo(f"{name}:")
        for one in filters:
            click.echo(f"- '{encode_json(filter_fields(one))}'")


def _printer(ctx: click.Context, options: dict[str, Any], *, is_following: bool) -> FlowPrinter:
    import sys

    from trireme_datapath.observer.printer import FlowPrinter, OutputForm

    named = "json" if options["as_json"] else options["form"].lower()
    form = OutputForm("table" if named == "tab" else named)
    if form is OutputForm.TABLE and is_following:
        raise click.UsageError("Columns cannot be aligned while flows come; use another --output.")
    if options["field_mask"] and form not in {OutputForm.JSON, OutputForm.JSONPB}:
        raise click.UsageError("--field-mask needs --output json.")

    def write(text: str) -> None:
        click.echo(text, nl=False, color=True)

    def complain(text: str) -> None:
        if not options["silent_errors"]:
            click.echo(text, nl=False, err=True)

    color = {"always": True, "never": False}.get(options["color"], ctx.color)
    return FlowPrinter(
        write,
        complain,
        form=form,
        time_format=options["time_format"],
        node_name=options["print_node_name"],
        policy_names=options["print_policy_names"],
        names=options["ip_translation"] and not options["numeric"],
        color=sys.stdout.isatty() if color is None else color,
    )


def _from_server(request: FlowsRequest, options: dict[str, Any]) -> Iterator[dict[str, object]]:
    import signal

    from trireme_datapath.grpc_server import parse_address, require_grpc
    from trireme_datapath.observer import FieldMask

    mask = (
        tuple((options["field_mask"] or "").replace(" ", "").split(","))
        if options["field_mask"]
        else ()
    )
    try:
        FieldMask(mask)
        address = parse_address(options["server"])
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    require_grpc()
    from trireme_datapath.observer._grpc_client import ClientTls, ObserverClient

    tls = ClientTls(
        ca_file=options["ca_file"],
        server_name=options["server_name"],
        certificate_file=options["certificate_file"],
        key_file=options["key_file"],
    )
    with ObserverClient(address, tls) as client:
        before = signal.signal(signal.SIGINT, lambda *_: client.interrupt())
        try:
            yield from client.flows(request, mask=mask)
        finally:
            signal.signal(signal.SIGINT, before)


def _lines(path: str) -> Iterator[bytes]:
    from trireme_collector.cli._line_source import LineSource

    source = LineSource([path], max_line_bytes=1 << 20)
    for batch in source.batches():
        yield from batch
