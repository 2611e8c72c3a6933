"""`trireme-collector conversations`: flow logs in, conversation records out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from trireme_collector.cli.output import json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trireme_collector.netobserv import (
        ConversationStream,
        Enricher,
        FlowReader,
        Tracker,
        UnknownFields,
    )

__all__ = ["conversations"]

_LINES, _RECORDS = "netobserv", "native"
_TO_LINES = "lines"
_DISCARDED = "conntrack_input_records|classification=discarded"
_BATCH = 1_000
_TICK_SECONDS = 1.0


@click.command()
@click.argument("inputs", nargs=-1)
@click.option(
    "--from",
    "kind",
    default=_LINES,
    show_default=True,
    metavar="KIND",
    help="What the inputs are: netobserv or native JSON lines, or a source of another package.",
)
@click.option(
    "-c",
    "--config",
    "config_path",
    metavar="FILE",
    help="The conntrack configuration, as JSON or TOML; that of a cluster by default.",
)
@click.option(
    "--profile",
    type=click.Choice(["default", "strict"]),
    default="default",
    show_default=True,
    help="Do as NetObserv does, or without its defects.",
)
@click.option(
    "--numbers",
    type=click.Choice(["agent", "json"]),
    default="agent",
    show_default=True,
    help="Whether ids are those of a cluster or those of a pipeline that reads JSON.",
)
@click.option(
    "--records",
    "record_types",
    metavar="TYPE,...",
    help="The types of records to write, instead of those of the configuration.",
)
@click.option(
    "--clock",
    type=click.Choice(["auto", "flows", "wall"]),
    default="auto",
    show_default=True,
    help="What drives the time: the flow logs, or the clock on the wall; auto takes the wall for"
    " standard input.",
)
@click.option(
    "--enrich",
    "enrichment",
    metavar="NAME[:KEY=VALUE,...]",
    help="Name addresses by this look-up.",
)
@click.option(
    "--unknown-fields",
    type=click.Choice(["keep", "drop"]),
    help="What becomes of fields that the format does not know; they are kept if nothing is said,"
    " but not counted.",
)
@click.option(
    "--max-conversations",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many conversations are kept if the configuration does not say.",
)
@click.option(
    "--group",
    metavar="NAME",
    help="Share the inputs, which are topics then, with all instances of this group.",
)
@click.option(
    "--options",
    "options_path",
    metavar="FILE",
    help="With --group: options of the source in [source] and of the sink in [sink], TOML.",
)
@click.option(
    "--source",
    "source_words",
    multiple=True,
    metavar="KEY=VALUE",
    help="With --group: an option of the source.",
)
@click.option(
    "--to",
    "sink",
    default=_TO_LINES,
    show_default=True,
    metavar="KIND",
    help="With --group: where records go, lines or a sink of another package.",
)
@click.option(
    "--sink",
    "sink_words",
    multiple=True,
    metavar="KEY=VALUE",
    help="With --group: an option of the sink.",
)
@click.option(
    "--checkpoint-seconds",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="With --group: how often it is kept how far everything is.",
)
@click.option("--places", is_flag=True, help="With --group: let each line say which record it is.")
@click.option(
    "--discard-states",
    is_flag=True,
    help="With --group: give up live conversations that cannot be taken up.",
)
@click.option(
    "--no-flush", is_flag=True, help="Leave out the conversations that are open at the end."
)
@click.option(
    "-o", "--output", default="-", metavar="FILE", help="Where to write; standard output if not."
)
@json_option
def conversations(  # noqa: PLR0913, PLR0917  one argument per option is how click calls it
    inputs: tuple[str, ...],
    kind: str,
    config_path: str | None,
    profile: str,
    numbers: str,
    record_types: str | None,
    clock: str,
    enrichment: str | None,
    unknown_fields: UnknownFields | None,
    max_conversations: int | None,
    output: str,
    *,
    group: str | None,
    options_path: str | None,
    source_words: tuple[str, ...],
    sink: str,
    sink_words: tuple[str, ...],
    checkpoint_seconds: float,
    places: bool,
    discard_states: bool,
    no_flush: bool,
    as_json: bool,
) -> None:
    """Follow conversations through the flow logs of all INPUTS.

    Each is a file, or - for standard input, which is also read if there is none. Records are
    written as lines of JSON; with --json, so is the summary on standard error.

    With --group, inputs are topics, and any number of instances share their partitions until they
    are told to stop: conversations stay open then, for whoever goes on.
    """
    from trireme_collector.cli._enrich_option import read_enricher
    from trireme_collector.cli._line_source import STANDARD_INPUT
    from trireme_collector.cli._output_file import lines_written_to
    from trireme_collector.netobserv import ConversationStream, FlowReader

    config = _config(config_path, record_types)
    enricher = read_enricher(enrichment) if enrichment else None
    if group is not None:
        from trireme_collector.cli._shared_conversations import (
            DEFAULT_MAX_SHARED,
            Rules,
            SharedJob,
            follow_shared,
            read_clock,
        )

        rules = Rules(
            config=config,
            profile="strict" if profile == "strict" else "default",
            numbers="json" if numbers == "json" else "agent",
            max_conversations=max_conversations or DEFAULT_MAX_SHARED,
            by_time=read_clock(clock),
            unknown_fields=unknown_fields,
        )
        job = SharedJob(
            kind=kind,
            topics=inputs,
            group=group,
            options_path=options_path,
            source_words=source_words,
            sink=sink,
            sink_words=sink_words,
            output=output,
            with_places=places,
            checkpoint_seconds=checkpoint_seconds,
            discards_states=discard_states,
        )
        with _closing(enricher):
            follow_shared(job, rules, enricher, as_json=as_json)
        return
    if options_path or source_words or sink_words or sink != _TO_LINES or places or discard_states:
        msg = "--options, --source, --to, --sink, --places and --discard-states need --group"
        raise click.UsageError(msg)
    paths = inputs or (STANDARD_INPUT,)
    tracker = _tracker(config, profile, numbers, max_conversations)
    checks = enricher is not None or unknown_fields is not None or kind == _RECORDS
    reader = FlowReader(unknown_fields=unknown_fields or "keep")
    by_time = clock == "flows" or (clock == "auto" and STANDARD_INPUT not in paths)
    stream = ConversationStream(
        tracker,
        by_time=by_time,
        reader=reader if checks and kind == _LINES else None,
        enricher=enricher,
    )
    with lines_written_to(output) as write, _ended_by_signals(), _closing(enricher):
        try:
            for lines in _outputs(stream, kind, paths, by_time=by_time, reader=reader):
                write(lines)
        finally:
            for lines in () if no_flush else stream.finish():
                write(lines)
    # A reader that is not part of the stream counts for itself.
    broken = stream.broken if checks and kind == _LINES else stream.broken + reader.broken
    _summarize(stream, reader if checks else None, tracker, broken, as_json=as_json)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C: what is open is written before the end."""
    import signal

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _closing(enricher: Enricher | None) -> Iterator[None]:
    try:
        yield
    finally:
        if enricher is not None:
            enricher.close()


def _outputs(
    stream: ConversationStream,
    kind: str,
    paths: tuple[str, ...],
    *,
    by_time: bool,
    reader: FlowReader,
) -> Iterator[list[bytes]]:
    """Give what is to be written, piece by piece."""
    from trireme_collector.cli._flow_inputs import native_flows
    from trireme_collector.cli._line_source import LineSource
    from trireme_collector.cli._progress import Progress
    from trireme_collector.netobserv import DEFAULT_MAX_LINE_BYTES
    from trireme_collector.netobserv._flow_clock import steady_clock
    from trireme_collector.netobserv.sources import load_flow_source

    now_ms = steady_clock()
    if kind not in (_LINES, _RECORDS):
        source = load_flow_source(kind)
        for path in paths:
            for flows in _batched(source(path)):
                yield stream.take([reader.tidy(flow) for flow in flows], now_ms())
        return
    lines_of = LineSource(paths, max_line_bytes=DEFAULT_MAX_LINE_BYTES)
    with Progress("flow logs", lines_of.total_bytes) as progress:
        for lines in lines_of.batches(None if by_time else _TICK_SECONDS):
            if kind == _RECORDS:
                yield stream.take(native_flows(lines, reader), now_ms())
            else:
                yield stream.take_lines(lines, now_ms())
            progress.show(stream.flows, lines_of.bytes_read)
    reader.broken += lines_of.too_long


def _batched(flows: Iterator[Mapping[str, object]]) -> Iterator[list[Mapping[str, object]]]:
    import itertools

    while batch := list(itertools.islice(flows, _BATCH)):
        yield batch


def _config(config_path: str | None, record_types: str | None) -> dict[str, object]:
    from trireme_collector.cli._flow_inputs import load_tracking_config
    from trireme_collector.netobserv import default_tracking_config

    config = load_tracking_config(config_path) if config_path else default_tracking_config()
    if record_types is not None:
        config["outputRecordTypes"] = [word.strip() for word in record_types.split(",")]
    return config


def _tracker(
    config: Mapping[str, object], profile: str, numbers: str, max_conversations: int | None
) -> Tracker:
    from trireme_collector.netobserv import DEFAULT_MAX_CONVERSATIONS, Tracker

    return Tracker.from_config(
        config,
        profile="strict" if profile == "strict" else "default",
        numbers="json" if numbers == "json" else "agent",
        max_conversations=max_conversations or DEFAULT_MAX_CONVERSATIONS,
    )


def _summarize(
    stream: ConversationStream,
    reader: FlowReader | None,
    tracker: Tracker,
    broken: int,
    *,
    as_json: bool,
) -> None:
    from trireme_collector.cli._line_source import InputError

    if as_json:
        fields: dict[str, object] = {
            "flow_logs": stream.flows,
            "records": stream.records,
            "broken_lines": broken,
            "metrics": tracker.metrics(),
        }
        if reader is not None:
            fields |= {
                "wrong_fields": dict(reader.wrong),
                "unknown_fields": dict(reader.unknown),
            }
        print_json({"summary": fields}, err=True, indent=False)
    else:
        notes = [f"{stream.flows:,} flow logs", f"{stream.records:,} records"]
        if broken:
            notes.append(f"{broken:,} broken lines")
        if reader and reader.wrong:
            notes.append(f"{reader.wrong.total():,} fields of a wrong type")
        if reader and reader.unknown:
            notes.append(f"{reader.unknown.total():,} unknown fields")
        click.echo(", ".join(notes), err=True)
    if broken and not stream.flows:
        msg = f"none of {broken:,} lines is a flow log; check --from"
        raise InputError(msg)
    if stream.flows and tracker.metrics().get(_DISCARDED) == stream.flows:
        msg = (
            f"none of {stream.flows:,} flow logs has the fields that tell conversations apart;"
            " check --from (records of a collector are native) and the fields of --config"
        )
        raise InputError(msg)
