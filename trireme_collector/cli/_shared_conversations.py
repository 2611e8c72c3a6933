"""`conversations --group`: one of several instances that share the flow logs of a source."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

import click
import msgspec
import xxhash

from trireme_collector.cli._flow_inputs import native_flows
from trireme_collector.cli._line_sink import LineSink
from trireme_collector.cli._part_options import read_part_options
from trireme_collector.cli._progress import Progress
from trireme_collector.cli.output import print_json
from trireme_collector.netobserv import (
    ConversationStream,
    FlowReader,
    Following,
    SharedConversations,
    Tracker,
)
from trireme_collector.netobserv.sinks import load_record_sink
from trireme_collector.netobserv.sources import load_shared_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trireme_collector.netobserv import Enricher, Numbers, Profile, UnknownFields
    from trireme_collector.netobserv.sharing import RecordSink, SharedSource

__all__ = ["DEFAULT_MAX_SHARED", "LINES", "Rules", "SharedJob", "follow_shared", "read_clock"]

LINES = "lines"
DEFAULT_MAX_SHARED = 100_000
"""How many conversations of one partition are kept if nothing is said: 100 MB."""

_WAIT_SECONDS = 0.2
_SAME_WARNING_SECONDS = 60.0


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides which records come out of which flow logs.

    Attributes:
        config: The configuration of conversation tracking.
        profile: Whose rules are followed.
        numbers: With which types numbers got in.
        max_conversations: How many conversations of a partition are kept.
        by_time: Whether the flow logs drive the clock, instead of the times of their messages.
        unknown_fields: What becomes of fields that the format does not know; if nothing is said,
            they are kept, and not counted.
    """

    config: Mapping[str, object]
    profile: Profile
    numbers: Numbers
    max_conversations: int
    by_time: bool
    unknown_fields: UnknownFields | None

    def fit(self, values: str) -> str:
        """Tell these rules from all others."""
        text = msgspec.json.encode((1, values, self), order="sorted")
        return xxhash.xxh3_64_hexdigest(text)


class SharedJob(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about it.

    Attributes:
        kind: The name of the source.
        topics: What is read.
        group: The group that shares it.
        options_path: The file with options of source and sink.
        source_words: Options of the source.
        sink: The name of the sink.
        sink_words: Options of the sink.
        output: What the sink writes to.
        with_places: Whether lines say which record they are.
        checkpoint_seconds: How often checkpoints are kept.
        discards_states: Whether conversations that cannot be taken up are given up.
    """

    kind: str
    topics: tuple[str, ...]
    group: str
    options_path: str | None
    source_words: tuple[str, ...]
    sink: str
    sink_words: tuple[str, ...]
    output: str
    with_places: bool
    checkpoint_seconds: float
    discards_states: bool


def read_clock(word: str) -> bool:
    """Say whether the flow logs drive the clock, rather than the times of their messages.

    Raises:
        UsageError: The wall is to drive it.
    """
    if word == "wall":
        msg = "--clock wall does not go with --group: what comes out could not be repeated"
        raise click.UsageError(msg)
    return word == "flows"


def follow_shared(
    job: SharedJob,
    rules: Rules,
    enricher: Enricher | None,
    *,
    as_json: bool,
) -> None:
    """Follow conversations until the process is told to stop.

    Raises:
        TriremeError: It cannot go on.
    """
    spec = load_shared_source(job.kind)
    if spec is None:
        msg = f"--group needs a source that can be shared, such as kafka, not --from {job.kind}"
        raise click.UsageError(msg)
    path, words = job.options_path, job.source_words
    options = read_part_options(spec.config_type, "source", path, words)
    source = spec.factory(options, job.topics, job.group)
    make = _maker(rules, source, enricher)
    make()  # a mistake in the configuration shows before anybody is joined
    sink = _sink(job)
    shared = SharedConversations(
        source,
        sink,
        make,
        fit=rules.fit(source.values),
        warn=_Warnings().give,
        checkpoint_seconds=job.checkpoint_seconds,
        discard_states=job.discards_states,
    )
    with _told_to_stop() as is_told, Progress("flow logs", None) as progress:
        try:
            shared.start()
            while not is_told():
                shared.step(_WAIT_SECONDS)
                progress.show(shared.flows, 0)
        except BaseException:
            # As after a kill: what has no checkpoint comes again.
            with contextlib.suppress(Exception):
                shared.abandon()
            raise
        shared.close()
    _summarize(shared, source, sink, as_json=as_json)


def _sink(job: SharedJob) -> RecordSink:
    if job.sink == LINES:
        if job.sink_words:
            msg = "--sink goes with --to KIND; lines are written as --output and --places say"
            raise click.UsageError(msg)
        return LineSink(job.output, with_places=job.with_places)
    spec = load_record_sink(job.sink)
    options = read_part_options(spec.config_type, "sink", job.options_path, job.sink_words)
    return spec.factory(options, job.output)


def _maker(
    rules: Rules, source: SharedSource, enricher: Enricher | None
) -> Callable[[], Following]:
    checks = enricher is not None or rules.unknown_fields is not None

    def make() -> Following:
        tracker = Tracker.from_config(
            rules.config,
            profile=rules.profile,
            numbers=rules.numbers,
            max_conversations=rules.max_conversations,
        )
        reader = FlowReader(unknown_fields=rules.unknown_fields or "keep")
        is_native = source.values == "native"
        stream = ConversationStream(
            tracker,
            by_time=rules.by_time,
            reader=reader if checks and not is_native else None,
            enricher=enricher,
        )

        def take_records(values: Sequence[bytes], now_ms: int) -> list[bytes]:
            return stream.take(native_flows(values, reader), now_ms)

        if is_native:
            return Following(tracker, stream, take_records, rules.by_time, reader)
        return Following(tracker, stream, stream.take_lines, rules.by_time)

    return make


class _Warnings:
    """Says the same thing once a minute at most."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def give(self, text: str) -> None:
        now = time.monotonic()
        if now - self._said.get(text, -_SAME_WARNING_SECONDS) >= _SAME_WARNING_SECONDS:
            self._said = {t: s for t, s in self._said.items() if now - s < _SAME_WARNING_SECONDS}
            self._said[text] = now
            click.echo(f"{click.style('warning:', fg='yellow')} {text}", err=True)


@contextlib.contextmanager
def _told_to_stop() -> Iterator[Callable[[], bool]]:
    """Take note of SIGTERM and Ctrl-C: a checkpoint comes first. The second one interrupts."""
    told: list[int] = []

    def note(number: int, frame: object) -> None:
        del frame
        if told:
            raise KeyboardInterrupt
        told.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(told)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summarize(
    shared: SharedConversations,
    source: SharedSource,
    sink: RecordSink,
    *,
    as_json: bool,
) -> None:
    totals = shared.totals
    counts = {
        "flow_logs": totals.flows,
        "records": totals.records,
        "broken_lines": totals.broken,
        "checkpoints": shared.checkpoints,
        "discarded_states": shared.discarded,
        "refused_records": int(getattr(sink, "refused", 0)),
        "gone_flow_logs": int(getattr(source, "gone", 0)),
        "lost_partitions": shared.lost_partitions,
        "unkept_records": shared.unkept_records,
    }
    if as_json:
        fields: dict[str, object] = {
            **counts,
            "metrics": dict(sorted(totals.metrics.items())),
            "wrong_fields": dict(totals.wrong),
            "unknown_fields": dict(totals.unknown),
        }
        print_json({"summary": fields}, err=True, indent=False)
        return
    counts |= {
        "fields_of_a_wrong_type": totals.wrong.total(),
        "unknown_fields": totals.unknown.total(),
    }
    notes = [
        f"{count:,} {name.replace('_', ' ')}"
        for name, count in counts.items()
        if count or name in {"flow_logs", "records"}
    ]
    click.echo(", ".join(notes), err=True)
