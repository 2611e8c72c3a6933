"""`trireme-collector record start`: record packets until a limit, or until told to stop."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import click

from trireme_collector.cli.output import json_option, print_json, printable
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.cli._record_options import DEFAULT_SERVER, client_of, server_options
from trireme_datapath.cli._record_quantities import DURATION, SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.recorder import RecordingRequest, RecordingStatistics
    from trireme_datapath.recorder._grpc_client import RecorderClient

__all__ = ["start"]

_FORMATS = ("pcap", "pcap-ns", "pcapng")
_STANDARD_OUTPUT = "-"


@click.command()
@click.argument("filters", nargs=-1, required=True, metavar="FILTER...")
@click.option("--local", is_flag=True, help="Record on this host, without a recorder.")
@click.option(
    "-i",
    "--interface",
    "interfaces",
    multiple=True,
    metavar="NAME",
    help="The interface, or any; may be given several times. What the recorder is set up for if"
    " not given; any with --local.",
)
@click.option(
    "-w",
    "--write",
    "path",
    metavar="FILE",
    help="Write the packets to a file here, or to standard output with -. At a recorder, its own"
    " file is there as well.",
)
@click.option(
    "-s",
    "--max-capture-len",
    type=SIZE,
    default=0,
    metavar="BYTES",
    help="How much of each packet is kept; 0 leaves it to the recorder, and is all with --local.",
)
@click.option(
    "-c", "--packet-limit", type=SIZE, default=0, metavar="N", help="End after N packets."
)
@click.option(
    "--bytes-limit", type=SIZE, default=0, metavar="BYTES", help="End after so many bytes."
)
@click.option(
    "--time-limit", type=DURATION, default=0, metavar="TIME", help="End after a time: 30s, 1h30m."
)
@click.option(
    "--file-prefix", default="", metavar="WORD", help="What the recorder's file begins with."
)
@click.option(
    "--format",
    "capture_format",
    type=click.Choice(_FORMATS),
    help="pcap in microseconds, pcap-ns in nanoseconds, or pcapng, which has names of interfaces,"
    " and verdicts with --from-queue.",
)
@click.option(
    "--from-queue",
    is_flag=True,
    help="Record the packets that an agent judges, with verdict and rule, instead of interfaces.",
)
@click.option(
    "--from-file",
    "capture",
    metavar="CAPTURE",
    help="Record the packets of a capture file, - for standard input, instead of interfaces;"
    " needs -w, and no recorder.",
)
@click.option(
    "--policy",
    metavar="FILE",
    default="",
    help="With --from-file: write the verdict of this policy beside each packet (pcapng).",
)
@click.option(
    "--rotate-size", type=SIZE, default=0, metavar="BYTES", help="Begin another file at this size."
)
@click.option(
    "--rotate-every", type=DURATION, default=0, metavar="TIME", help="... and after this time."
)
@click.option(
    "--ring",
    "ring_files",
    type=click.IntRange(0, 10_000),
    default=0,
    metavar="N",
    help="Keep only the last N files.",
)
@server_options
@json_option
@click.pass_context
def start(
    ctx: click.Context,
    /,
    filters: tuple[str, ...],
    path: str | None,
    *,
    local: bool,
    as_json: bool,
    server: str | None,
    **options: Any,  # noqa: ANN401  those that describe the recording, and those of TLS
) -> None:
    """Record the packets that fit any FILTER.

    A filter is one argument: '10.0.0.0/8:443 tcp' for both directions, '10.0.0.0/8 ->
    192.0.2.1:80' for one, ':53', 'icmp', 'any'.

    Without --server, and where no recorder listens at the usual place, it records on this host
    as with --local. Ctrl-C ends the recording in good order, a second one at once.
    """
    capture, policy = options.pop("capture"), options.pop("policy")
    tls = {name: options.pop(name) for name in tuple(options) if name.startswith("tls_")}
    request = _request(filters, **options)
    rotating = bool(request.rotate_bytes or request.rotate_ns or request.ring_files)
    if path is not None and rotating:
        raise click.UsageError("-w takes one file: leave --rotate-size, --rotate-every and --ring.")
    if policy and capture is None:
        raise click.UsageError("--policy judges the packets of --from-file.")
    here = local or capture is not None or (server is None and not _listens(DEFAULT_SERVER))
    if not here:
        with client_of(server, **tls) as client:
            statistics, ended, reason = _at_recorder(client, request, path)
    else:
        if path is None or rotating or request.from_queue or request.file_prefix:
            why = (
                "" if local or capture is not None else f"no recorder listens at {DEFAULT_SERVER}; "
            )
            raise click.UsageError(
                f"{why}recording on this host needs -w, and knows neither --from-queue,"
                " --file-prefix, --ring nor rotation."
            )
        statistics, ended, reason = _on_this_host(request, path, capture, policy)
    _report(statistics, ended, reason, as_json=as_json, err=path == _STANDARD_OUTPUT)
    if reason in {"failed", "space"}:
        ctx.exit(ExitCode.OUTPUT)


def _request(filters: tuple[str, ...], **wanted: Any) -> RecordingRequest:  # noqa: ANN401  as above
    from trireme_datapath.recorder import (
        CaptureFormat,
        RecorderError,
        RecordingRequest,
        StopCondition,
    )
    from trireme_datapath.recorder.filter_words import parse_filter_words

    try:
        include = tuple(dict.fromkeys(one for text in filters for one in parse_filter_words(text)))
    except RecorderError as error:
        raise click.BadParameter(str(error), param_hint="FILTER") from error
    capture_format = wanted["capture_format"]
    return RecordingRequest(
        include=include,
        file_prefix=wanted["file_prefix"],
        max_capture_length=min(wanted["max_capture_len"], 2**32 - 1),
        stop_condition=StopCondition(
            bytes_captured_count=wanted["bytes_limit"],
            packets_captured_count=wanted["packet_limit"],
            time_elapsed_ns=wanted["time_limit"],
        ),
        capture_format=CaptureFormat(capture_format) if capture_format else None,
        rotate_bytes=wanted["rotate_size"],
        rotate_ns=wanted["rotate_every"],
        ring_files=wanted["ring_files"],
        interfaces=wanted["interfaces"],
        from_queue=wanted["from_queue"],
    )


def _listens(address: str) -> bool:
    from pathlib import Path

    try:
        return Path(address.removeprefix("unix://")).is_socket()
    except OSError:
        return False


class _Stopping:
    """Asks for the end at the first signal, and gives up at the second."""

    def __init__(self, stop: Callable[[], object], give_up: Callable[[], object]) -> None:
        self._stop, self._give_up = stop, give_up
        self._asked = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: object) -> None:
        if self._asked:
            self._give_up()
            raise KeyboardInterrupt
        self._asked = True
        self._stop()


def _at_recorder(
    client: RecorderClient, request: RecordingRequest, path: str | None
) -> tuple[RecordingStatistics, str, str]:
    from trireme_datapath.cli._record_progress import RecordProgress
    from trireme_datapath.recorder import RecordingStatistics

    call = client.record(request)
    progress = RecordProgress(request.stop_condition)
    bringing: _Bringing | None = None
    statistics, ended = RecordingStatistics(), ""
    try:
        with _Stopping(call.stop, call.cancel):
            for update in call:
                statistics, ended = update.statistics, update.path
                if path is not None and bringing is None:
                    bringing = _Bringing(client, call.file_name, path, call.stop)
                if not ended:
                    progress.show(statistics)
    finally:
        progress.finish()
    if bringing is not None:
        bringing.finish()
    return statistics, ended, call.reason


class _Bringing(threading.Thread):
    """Brings the file of a recording here while it grows."""

    def __init__(
        self, client: RecorderClient, name: str, path: str, stop: Callable[[], None]
    ) -> None:
        from trireme_datapath.recorder._local import open_output

        super().__init__(name="fetch", daemon=True)
        self._chunks = client.fetch(name, follow=True)
        self._descriptor = open_output(path)
        self._stop_recording = stop
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        from trireme_datapath.recorder import RecorderError

        try:
            for data in self._chunks:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._descriptor, view) :]
        except (OSError, RecorderError) as error:
            self._error = error
            self._stop_recording()  # nobody reads it any more, or nothing fits
        finally:
            os.close(self._descriptor)

    def finish(self) -> None:
        """Wait for the end of the file.

        Raises:
            OSError: It could not be written.
            RecorderError: It could not be fetched.
        """
        self.join()
        if self._error is not None and not isinstance(self._error, BrokenPipeError):
            raise self._error


def _on_this_host(
    request: RecordingRequest, path: str, capture: str | None, policy: str
) -> tuple[RecordingStatistics, str, str]:
    from trireme_datapath.cli._record_progress import RecordProgress
    from trireme_datapath.recorder._local import open_local, open_replay

    if capture is not None:
        recording = open_replay(request, path, capture=capture, policy=policy)
    else:
        recording = open_local(request, path, interfaces=request.interfaces or ("any",))
    runner = recording.runner
    progress = RecordProgress(request.stop_condition)
    try:
        with _Stopping(runner.stop, lambda: None):
            runner.start()
            while not runner.join(1.0):
                progress.show(runner.statistics)
    finally:
        progress.finish()
        runner.stop()
        runner.join(5)
        recording.close()
    if runner.error is not None and not isinstance(runner.error, BrokenPipeError):
        raise runner.error
    return runner.statistics, path, runner.reason or ""


def _report(
    statistics: RecordingStatistics, path: str, reason: str, *, as_json: bool, err: bool
) -> None:
    import msgspec

    from trireme_datapath.cli._record_progress import statistics_text

    if as_json:
        fields = {"path": path, "reason": reason, "statistics": msgspec.to_builtins(statistics)}
        print_json(fields, err=err)
        return
    click.echo(statistics_text(statistics), err=err)
    if path != _STANDARD_OUTPUT:
        click.echo(printable(path), err=err)
