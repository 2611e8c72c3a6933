"""`trireme-collector convert`: records from one format into another."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import click

from trireme_collector.cli.output import json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from trireme_collector.hookspecs import FormatSpec
    from trireme_collector.netobserv import FlowReader
    from trireme_collector.records import Record

    # A record of ours, or a flow log.
    Item: TypeAlias = Record | Mapping[str, object]

__all__ = ["convert"]

_INPUTS = ("native", "netobserv")
_OUTPUTS = ("native", "netobserv", "netobserv-strict", "text")
_BATCH = 1_000


@click.command()
@click.argument("inputs", nargs=-1)
@click.option(
    "--from",
    "source",
    default="native",
    show_default=True,
    metavar="KIND",
    help="What the inputs are: native or netobserv JSON lines, or a source of another package.",
)
@click.option(
    "--to",
    "target",
    required=True,
    metavar="FORMAT",
    help="What to write: native, netobserv, netobserv-strict, the very text that the original"
    " writes, text, or a format that a plugin offers.",
)
@click.option(
    "--unknown-fields",
    type=click.Choice(["keep", "drop"]),
    default="keep",
    show_default=True,
    help="What becomes of fields that the format does not know.",
)
@click.option(
    "-o", "--output", default="-", metavar="FILE", help="Where to write; standard output if not."
)
@json_option
def convert(
    inputs: tuple[str, ...],
    source: str,
    target: str,
    unknown_fields: str,
    output: str,
    *,
    as_json: bool,
) -> None:
    """Convert the records of all INPUTS into another format.

    Each is a file, or - for standard input, which is also read if there is none. A flow record
    becomes one flow log for each direction that was counted; records of other kinds have no place
    in NetObserv JSON and are left out.
    """
    from trireme_collector.cli._line_source import STANDARD_INPUT, InputError
    from trireme_collector.cli._output_file import lines_written_to
    from trireme_collector.netobserv import FlowReader

    reader = FlowReader(unknown_fields="drop" if unknown_fields == "drop" else "keep")
    render = _renderer(target)
    read = written = left_out = 0
    with lines_written_to(output) as write:
        for batch in _items(source, inputs or (STANDARD_INPUT,), reader):
            lines: list[bytes] = []
            for item in batch:
                rendered = render(item)
                lines += rendered
                left_out += not rendered
            read += len(batch)
            written += len(lines)
            write(lines)
    counts: dict[str, object] = {
        "read": read,
        "written": written,
        "left_out": left_out,
        "broken_lines": reader.broken,
        "wrong_fields": dict(reader.wrong),
        "unknown_fields": dict(reader.unknown),
    }
    if as_json:
        print_json({"summary": counts}, err=True, indent=False)
    else:
        notes = [f"{read:,} read", f"{written:,} written"]
        for count, what in (
            (left_out, "without a place in the format"),
            (reader.broken, "broken lines"),
            (reader.wrong.total(), "fields of a wrong type"),
            (reader.unknown.total(), "unknown fields"),
        ):
            if count:
                notes.append(f"{count:,} {what}")
        click.echo(", ".join(notes), err=True)
    if reader.broken and not read:
        msg = f"none of {reader.broken:,} lines is a {source} record; check --from"
        raise InputError(msg)


def _items(source: str, paths: Sequence[str], reader: FlowReader) -> Iterator[Sequence[Item]]:
    """Read the inputs, a batch at a time."""
    import itertools

    from trireme_collector.cli._flow_inputs import native_records
    from trireme_collector.cli._line_source import LineSource
    from trireme_collector.cli._progress import Progress
    from trireme_collector.netobserv import DEFAULT_MAX_LINE_BYTES
    from trireme_collector.netobserv.sources import load_flow_source

    if source not in _INPUTS:
        read = load_flow_source(source)
        for path in paths:
            flows = iter(read(path))
            while batch := [reader.tidy(flow) for flow in itertools.islice(flows, _BATCH)]:
                yield batch
        return
    lines_of = LineSource(paths, max_line_bytes=DEFAULT_MAX_LINE_BYTES)
    done = 0
    with Progress("records", lines_of.total_bytes) as progress:
        for lines in lines_of.batches():
            items: Sequence[Item]
            if source == "native":
                items = list(native_records(lines, reader))
            else:
                items = [flow for line in lines if line and (flow := reader.read(line)) is not None]
            yield items
            done += len(items)
            progress.show(done, lines_of.bytes_read)
    reader.broken += lines_of.too_long


def _renderer(target: str) -> Callable[[Item], list[bytes]]:
    """Make the function that writes one record as lines."""
    from collections.abc import Mapping

    import msgspec

    from trireme_collector.formats import render_json_line, render_text
    from trireme_collector.netobserv import (
        FLOW_FIELDS,
        Flow,
        encode_flow,
        flow_fields,
        flows_from_record,
        record_from_flow,
    )
    from trireme_collector.records import FlowRecord

    def as_record(item: Item) -> Record:
        if not isinstance(item, Mapping):
            return item
        known = {name: value for name, value in item.items() if name in FLOW_FIELDS}
        return record_from_flow(msgspec.convert(known, Flow))

    def as_flows(item: Item) -> Iterable[Mapping[str, object]]:
        if isinstance(item, Mapping):
            return [item]
        return map(flow_fields, flows_from_record(item)) if isinstance(item, FlowRecord) else ()

    match target:
        case "native":
            return lambda item: [render_json_line(as_record(item)).rstrip(b"\n")]
        case "text":
            return lambda item: [render_text(as_record(item)).rstrip("\n").encode()]
        case "netobserv":
            return lambda item: [encode_flow(flow) for flow in as_flows(item)]
        case "netobserv-strict":
            return lambda item: [encode_flow(flow, profile="strict") for flow in as_flows(item)]
    from trireme_collector.option_formats import render_line

    spec = _format_of_plugin(target)

    def render(item: Item) -> list[bytes]:
        line = render_line(spec, as_record(item))
        return [line[:-1]] if line else []

    return render


def _format_of_plugin(name: str) -> FormatSpec:
    """Find a format that is none of ours.

    Raises:
        PluginError: There is none.
    """
    from trireme_collector.errors import PluginError
    from trireme_collector.registry import Registry

    try:
        return Registry().format_spec(name)
    except PluginError as error:
        msg = f"--to {name!r} is none of {', '.join(_OUTPUTS)}, and: {error}"
        raise PluginError(msg) from error
