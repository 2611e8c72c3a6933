"""`trireme-collector replay`: judge the packets of a capture as live traffic is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trireme_collector.cli.output import json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_collector.pipeline import Pipeline
    from trireme_collector.records import Record

__all__ = ["replay"]

_RECORDS_BETWEEN_FLUSHES = 10_000
_FLUSH_SECONDS = 30.0
_CLOSE_SECONDS = 10.0


@click.command()
@click.argument("capture")
@click.option(
    "--policy", "policy_path", required=True, metavar="FILE", help="The policy to judge by."
)
@click.option(
    "--collector",
    "collectors",
    multiple=True,
    metavar="TYPE[:KEY=VALUE,...]",
    help="Send the records to this collector too. May be given several times.",
)
@json_option
@click.option("--decisions", is_flag=True, help="Print what was decided about each packet, too.")
@click.option("--stats", is_flag=True, help="Print the counters of the engine at the end.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Judge the first N packets only."
)
@click.pass_context
def replay(
    ctx: click.Context,
    capture: str,
    policy_path: str,
    collectors: tuple[str, ...],
    limit: int | None,
    *,
    as_json: bool,
    decisions: bool,
    stats: bool,
) -> None:
    """Judge the packets of CAPTURE by a policy and print the records.

    CAPTURE is a pcap or pcapng file, also one compressed with gzip, or - for standard input. The
    time is that of the capture. Nothing is enforced.
    """
    import sys

    import msgspec

    from trireme_datapath.backends.pcap import STANDARD_INPUT, CaptureError
    from trireme_datapath.backends.replay import ReplayBackend
    from trireme_datapath.cli._logging import configure_logging
    from trireme_datapath.cli._replay_output import ReplayPrinter, summarize
    from trireme_datapath.engine import Engine, EngineLimits
    from trireme_datapath.policy import compile_policy, load_policy

    configure_logging(as_json=as_json, color=ctx.color)
    # What nobody enforces may lie where everybody can write.
    policy = compile_policy(load_policy(policy_path, allow_world_writable=True))
    # No collector can be flooded with reports here: it is waited for.
    engine = Engine(policy, EngineLimits(max_packet_reports_per_second=sys.maxsize))
    # As an agent does: rules may name what answers in the capture say.
    engine.observe_dns()
    engine.report_exceptions()
    color = sys.stdout.isatty() if ctx.color is None else ctx.color
    printer = ReplayPrinter(engine, as_json=as_json, color=color)
    sink = _Sink(collectors)
    write = sys.stdout.write
    live = capture == STANDARD_INPUT
    ended: CaptureError | KeyboardInterrupt | None = None
    records = 0

    def take(made: Iterable[Record]) -> None:
        nonlocal records
        for record in made:
            records += 1
            write(printer.record(record) + "\n")
            sink.put(record)

    with ReplayBackend(capture, engine, limit=limit) as backend, sink:
        try:
            for replayed in backend:
                if decisions:
                    write(printer.decision(replayed) + "\n")
                take(replayed.decision.records)
                if live and (decisions or replayed.decision.records):
                    sys.stdout.flush()  # somebody may be watching packets as they come
        except (CaptureError, KeyboardInterrupt) as error:
            ended = error  # what was read before is still to be reported
        take(backend.finish())
    if stats:
        write(printer.statistics() + "\n")
    sys.stdout.flush()
    summary = summarize(backend, engine, records)
    if as_json:
        fields: dict[str, object] = {"summary": msgspec.to_builtins(summary)}
        print_json(fields, err=True, indent=False)
    else:
        click.echo(summary, err=True)
    if ended is not None:
        raise ended
    sink.raise_undelivered()


class _Sink:
    """The collectors that were asked for: waited for, so that none of them loses a record."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._pipeline = _build(words) if words else None
        self._put = 0
        self._problems: list[str] = []

    def __enter__(self) -> None:
        if self._pipeline is not None:
            from trireme_datapath.agent._outputs import start_outputs

            start_outputs(self._pipeline)

    def __exit__(self, *exception: object) -> None:
        if self._pipeline is None:
            return
        report = self._pipeline.close(_CLOSE_SECONDS)
        for account in report.status.collectors:
            lost = account.accepted - account.delivered
            if lost:
                why = f" ({account.last_error})" if account.last_error else ""
                self._problems.append(
                    f"collector {account.name!r} took {account.delivered} of {account.accepted}"
                    f" records{why}"
                )

    def put(self, record: Record) -> None:
        """Hand a record over; wait from time to time until all are delivered."""
        pipeline = self._pipeline
        if pipeline is None:
            return
        from trireme_datapath.loop import dispatch

        dispatch(pipeline, record)
        self._put += 1
        if not self._put % _RECORDS_BETWEEN_FLUSHES and not pipeline.flush(_FLUSH_SECONDS):
            from trireme_collector.errors import DeliveryError

            states = pipeline.status().collectors
            slow = "; ".join(
                f"{state.name!r}: {state.last_error or 'no answer'}"
                for state in states
                if state.queued
            )
            msg = f"records wait for more than {_FLUSH_SECONDS:.0f} s ({slow}); repair the receiver"
            raise DeliveryError(msg)

    def raise_undelivered(self) -> None:
        """Report records that a collector did not take.

        Raises:
            DeliveryError: There are such records.
        """
        if self._problems:
            from trireme_collector.errors import DeliveryError

            msg = f"{'; '.join(self._problems)}; repair its receiver and replay again"
            raise DeliveryError(msg)


def _build(words: tuple[str, ...]) -> Pipeline:
    from trireme_collector.aggregation import AggregationConfig
    from trireme_collector.pipeline import build_pipeline
    from trireme_collector.registry import Registry
    from trireme_datapath.cli._collector_option import read_collectors

    # The window would end by the clock on the wall: merging would differ from run to run.
    return build_pipeline(
        read_collectors(words), Registry(), aggregation=AggregationConfig(window_seconds=0)
    )
