"""The recorder: starts recordings, knows those that run, writes down who wanted them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
import structlog

from trireme_datapath.recorder._active import FULL, ActiveRecording
from trireme_datapath.recorder._errors import RecorderError, Refusal
from trireme_datapath.recorder._output import FileOutput, Rotation
from trireme_datapath.recorder._recording import (
    NEVER_NS,
    Recording,
    RecordingRequest,
    RecordingStatistics,
    StopCondition,
    StopReason,
    capture_length,
)
from trireme_datapath.recorder._runner import RecordingRunner
from trireme_datapath.recorder._store import RecordingStore, StoredFile, check_prefix
from trireme_datapath.recorder.capture_formats import MAX_CAPTURE_BYTES, encoder_of
from trireme_datapath.recorder.filters import MAX_FILTERS
from trireme_datapath.recorder.metrics import RecorderTotals

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from trireme_datapath.recorder._source import PacketSource
    from trireme_datapath.recorder.config import RecorderConfig

__all__ = ["ActiveRecording", "OpenSource", "Recorder", "RecordingEntry", "open_source"]

_CLOSE_SECONDS: Final = 5.0

_log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.recorder")


class RecordingEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A recording as lists show it.

    Attributes:
        name: The name of its file; of the last one if there are several.
        path: Its absolute path.
        running: Whether it runs.
        size_bytes: The size of the file.
        modified_ns: When it was last written to.
        who: Who asked for it, when it runs.
        statistics: What it counted, when it runs.
    """

    name: str
    path: str
    running: bool
    size_bytes: int
    modified_ns: int
    who: str = ""
    statistics: RecordingStatistics | None = None


def open_source(config: RecorderConfig, request: RecordingRequest) -> PacketSource:
    """Open what a request wants recorded.

    Raises:
        RecorderError: It cannot be opened.
    """
    size = capture_length(request.max_capture_length, config.kept_bytes)
    if request.from_queue or (config.record_queue and not request.interfaces):
        from trireme_datapath.recorder._queue_source import (  # noqa: PLC0415  seldom needed
            QueueSource,
        )

        return QueueSource(config.packets_socket, request.include, capture_bytes=size)
    from trireme_datapath.recorder._tap import open_taps  # noqa: PLC0415  loads ctypes

    return open_taps(
        request.interfaces or config.interfaces,
        request.include,
        capture_bytes=size or MAX_CAPTURE_BYTES,
        ring_bytes=config.ring_bytes,
    )


OpenSource: TypeAlias = "Callable[[RecorderConfig, RecordingRequest], PacketSource]"
"""Opens what a request wants recorded."""


class Recorder:
    """Records packets to files of a store.

    Args:
        config: What is allowed.
        store: Where files lie; closed with the recorder.
        open_source: Opens what a request wants recorded.

    Attributes:
        config: What is allowed.
        store: Where files lie.
        begun: How many recordings were begun.
        ended: How many ended, by why.
    """

    def __init__(
        self,
        config: RecorderConfig,
        store: RecordingStore,
        *,
        open_source: OpenSource = open_source,
    ) -> None:
        """Record nothing yet."""
        self.config = config
        self.store = store
        self._open_source = open_source
        self._active: set[ActiveRecording] = set()
        self._lock = threading.Lock()
        self._starting = 0
        self.begun = 0
        self.ended: Counter[str] = Counter()
        self._totals = RecorderTotals()
        self._closing = False

    def check(self, request: RecordingRequest) -> None:
        """Check a request in the order in which Cilium does.

        Raises:
            RecorderError: It cannot be done.
        """
        check_prefix(request.file_prefix)
        if not request.include:
            raise RecorderError("need to specify at least one include filter")
        if len(request.include) > MAX_FILTERS:
            raise RecorderError(
                f"{len(request.include)} include filters are too many, {MAX_FILTERS} are possible",
                Refusal.EXHAUSTED,
            )

    def start(self, request: RecordingRequest, who: str) -> ActiveRecording:
        """Begin a recording; it runs in a thread of its own.

        Args:
            request: What is wanted.
            who: Who wants it.

        Raises:
            RecorderError: It cannot be done; the message says why.
        """
        self.check(request)
        with self._lock:
            if self._closing:
                raise RecorderError("the recorder is shutting down", Refusal.CLOSING)
            if len(self._active) + self._starting >= self.config.max_recordings:
                raise RecorderError(
                    f"unable to allocate capture rule id: {self.config.max_recordings} recordings"
                    " run, which is the limit",
                    Refusal.EXHAUSTED,
                )
            self._starting += 1
        try:
            active, runner = self._build(request, who)
            with self._lock:
                self._active.add(active)
                self.begun += 1
        finally:
            with self._lock:
                self._starting -= 1
        runner.start()
        return active

    def _build(
        self, request: RecordingRequest, who: str
    ) -> tuple[ActiveRecording, RecordingRunner]:
        config = self.config
        with contextlib.ExitStack() as undo:
            try:
                self.store.check_room()
                source = self._open_source(config, request)
                undo.callback(source.close)
                now_ns = time.monotonic_ns()
                encoder = encoder_of(
                    request.capture_format or config.capture_format,
                    source.interfaces,
                    max_bytes=capture_length(request.max_capture_length, config.kept_bytes),
                )
                output = FileOutput(
                    self.store,
                    request.file_prefix,
                    encoder,
                    now_ns,
                    Rotation(request.rotate_bytes, request.rotate_ns, request.ring_files),
                )
                undo.callback(output.discard)
                self._audit("started", output.names[-1:], who, request=_plain(request))
                runner = RecordingRunner(
                    Recording(self._limited(request.stop_condition), now_ns),
                    source,
                    output,
                    # A ring is bounded by its files.
                    max_bytes=0 if request.ring_files else config.max_file_bytes,
                    has_space=self.store.has_space,
                    on_end=lambda: self._ended(active),
                )
            except OSError as error:
                kind = Refusal.EXHAUSTED if error.errno in FULL else Refusal.FAILED
                reason = (error.strerror or str(error)).lower()
                text = f'failed to create pcap file "{self.store.path}": {reason}'
                raise RecorderError(text, kind) from error
            undo.pop_all()
        active = ActiveRecording(runner, output, who)
        _log.info("recording_started", path=active.path, who=who, filters=len(request.include))
        return active, runner

    def _limited(self, stop: StopCondition) -> StopCondition:
        limit_ns = self.config.max_seconds * 1_000_000_000 or NEVER_NS
        if stop.time_elapsed_ns == 0 and limit_ns == NEVER_NS:
            return stop
        elapsed = min(stop.time_elapsed_ns or NEVER_NS, limit_ns)
        return msgspec.structs.replace(stop, time_elapsed_ns=elapsed)

    def _ended(self, active: ActiveRecording) -> None:
        """Called from the thread of the recording when its file is closed."""
        statistics = active.statistics
        fields = {
            "reason": active.reason or StopReason.FAILED,
            "packets_captured": statistics.packets_captured,
            "bytes_captured": statistics.bytes_captured,
            "packets_lost": statistics.packets_lost,
        }
        if active.error is not None:
            fields["error"] = str(active.error)
        # The path is said here, too: a client that went away never hears it.
        _log.info("recording_stopped", path=active.path, who=active.who, **fields)
        try:
            self._audit("stopped", active.names, active.who, **fields)
        except OSError as error:
            _log.error("audit_failed", error=str(error), path=active.path)
        with self._lock:
            self._active.discard(active)
            self._totals.add(statistics, active.lost_by_cause)
            self.ended[active.reason or StopReason.FAILED] += 1
        active.conclude()

    def _audit(
        self, event: str, names: list[str] | tuple[str, ...], who: str, **fields: object
    ) -> None:
        self.store.audit({"event": event, "files": list(names), "who": who, **fields})

    @staticmethod
    def name_of(config: RecorderConfig) -> str:
        """Give what this host is called in answers and names of files."""
        return config.node_name or os.uname().nodename

    @property
    def node_name(self) -> str:
        """What this host is called in answers."""
        return self.name_of(self.config)

    @property
    def active(self) -> tuple[ActiveRecording, ...]:
        """The recordings that run."""
        with self._lock:
            return tuple(self._active)

    def totals(self) -> RecorderTotals:
        """Add up what was counted since the start, by recordings that run, too."""
        with self._lock:
            totals = self._totals.copy()
            for active in self._active:
                totals.add(active.statistics, active.lost_by_cause)
        return totals

    def entries(self) -> list[RecordingEntry]:
        """List the recordings that are there, the oldest first."""
        running = {one.name: one for one in self.active}
        return [self._entry(one, running.get(one.name)) for one in self.store.files()]

    def _entry(self, one: StoredFile, active: ActiveRecording | None) -> RecordingEntry:
        return RecordingEntry(
            name=one.name,
            path=self.store.path_of(one.name),
            running=active is not None,
            size_bytes=one.size_bytes,
            modified_ns=one.modified_ns,
            who="" if active is None else active.who,
            statistics=None if active is None else active.statistics,
        )

    def stop(self, name: str, who: str) -> ActiveRecording:
        """End the recording that writes to a file; it may go on for a moment.

        Raises:
            RecorderError: None does.
        """
        for active in self.active:
            if name in active.names:
                _log.info("recording_stop_asked", path=active.path, who=who)
                active.stop()
                return active
        raise RecorderError(
            f"no recording to {name!r} runs; ask for the list", Refusal.UNKNOWN_RECORDING
        )

    def shut_down(self) -> None:
        """Begin nothing more, and end what runs."""
        with self._lock:
            self._closing = True
        for active in self.active:
            active.stop(StopReason.SHUTDOWN)

    def close(self) -> None:
        """End everything and wait for it."""
        self.shut_down()
        end = time.monotonic() + _CLOSE_SECONDS
        for active in self.active:
            active.ended.wait(max(0.0, end - time.monotonic()))
        self.store.close()


def _plain(request: RecordingRequest) -> dict[str, object]:
    """Give a request as the audit shows it."""
    fields: dict[str, object] = {
        name: value for name, value in msgspec.structs.asdict(request).items() if value
    }
    fields["include"] = [str(one) for one in request.include]
    stop = msgspec.structs.asdict(request.stop_condition)
    fields["stop_condition"] = {name: value for name, value in stop.items() if value}
    return fields
