"""A client of recorders: ours, and any other that speaks the protocol of Hubble."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
import msgspec

from trireme_collector.exit_codes import ExitCode
from trireme_datapath.grpc_server import Messages, parse_address
from trireme_datapath.recorder._errors import RecorderError, Refusal
from trireme_datapath.recorder._grpc_requests import (
    DynamicMessage,
    new_message,
    set_duration,
)
from trireme_datapath.recorder._recording import RecordingStatistics
from trireme_datapath.recorder.protocol import (
    FILE_KEY,
    OPTIONS_KEY,
    OWN,
    REASON_KEY,
    RECORDER,
    recorder_schema,
)
from trireme_datapath.recorder.recorder import RecordingEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from trireme_datapath.recorder._recording import RecordingRequest

__all__ = ["ClientTls", "RecorderClient", "RecordingCall", "Update"]

_STOP_SECONDS: Final = 30.0
_NANOSECONDS: Final = 1_000_000_000
# Answers of List may be long; chunks of files are short.
_OPTIONS: Final = (("grpc.max_receive_message_length", 16 * 1024 * 1024),)


class ClientError(RecorderError):
    """A recorder refused, or cannot be reached."""

    exit_code: ExitCode = ExitCode.FAILURE


class ClientTls(msgspec.Struct, frozen=True, kw_only=True):
    """Files for TLS, PEM; all are needed.

    Attributes:
        authority: Whose certificates recorders have.
        certificate: Our own.
        key: Its key.
        server_name: The name in the recorder's certificate, if it is not that of the address.
    """

    authority: str
    certificate: str
    key: str
    server_name: str = ""


class Update(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a recorder says about a recording.

    Attributes:
        node_name: The host that records.
        time_ns: When it said so, nanoseconds since 1970 UTC.
        statistics: What was counted.
        path: The finished file; empty while the recording runs.
    """

    node_name: str
    time_ns: int
    statistics: RecordingStatistics
    path: str = ""


class RecorderClient:
    """Talks to one recorder.

    Args:
        address: ``unix:///PATH`` or ``HOST:PORT``.
        tls: The files for the latter.

    Raises:
        RecorderError: The address is none, or a file cannot be read.
    """

    def __init__(self, address: str, tls: ClientTls | None = None) -> None:
        """Prepare; the connection is made when it is needed."""
        try:
            found = parse_address(address)
        except ValueError as error:
            raise RecorderError(f"address {address!r}: {error}") from error
        self.address = str(found)
        self._types = Messages(recorder_schema())
        if found.path:
            self._channel = grpc.insecure_channel(f"unix:{found.path}", _OPTIONS)
        elif tls is None:
            raise RecorderError(
                f"{self.address} is reached by TLS: give the files of an authority, a certificate"
                " and its key"
            )
        else:
            options = list(_OPTIONS)
            named = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
            self._channel = grpc.secure_channel(self.address, _credentials(tls), [*options, *named])

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def record(self, request: RecordingRequest) -> RecordingCall:
        """Begin a recording."""
        return RecordingCall(self._channel, self._types, request)

    def list(self) -> tuple[RecordingEntry, ...]:
        """List the recordings that are there.

        Raises:
            RecorderError: The recorder refuses, or cannot be reached.
        """
        answer = self._ask("List", "ListRequest", "ListResponse")
        return tuple(
            RecordingEntry(
                name=one.name,
                path=one.path,
                running=one.running,
                size_bytes=one.size_bytes,
                modified_ns=one.modified.seconds * _NANOSECONDS + one.modified.nanos,
                who=one.who,
                statistics=_statistics(one.stats) if one.running else None,
            )
            for one in answer.recordings
        )

    def stop(self, name: str) -> tuple[str, RecordingStatistics]:
        """End a recording that somebody began, and give its path and what was counted.

        Raises:
            RecorderError: There is none of that name, or the recorder cannot be reached.
        """
        answer = self._ask("Stop", "StopRequest", "StopResponse", name=name)
        return answer.path, _statistics(answer.stats)

    def fetch(self, name: str, *, follow: bool = False) -> Iterator[bytes]:
        """Give the content of a recording.

        Args:
            name: Its name.
            follow: Wait for what is recorded while it runs.

        Raises:
            RecorderError: There is none of that name, or the recorder cannot be reached.
        """
        request = new_message(self._types, f"{OWN}.FetchRequest", name=name, follow=follow)
        kind = self._types[f"{OWN}.FetchResponse"]
        call: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(
            f"/{OWN}.Recordings/Fetch"
        )
        try:
            for data in call(request.SerializeToString()):
                answer: DynamicMessage = kind.FromString(data)
                yield answer.data
        except grpc.RpcError as error:
            raise _explain(error) from error

    def _ask(self, method: str, asked: str, answered: str, **fields: object) -> DynamicMessage:
        request = new_message(self._types, f"{OWN}.{asked}", **fields)
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"/{OWN}.Recordings/{method}"
        )
        try:
            data = call(request.SerializeToString(), timeout=_STOP_SECONDS)
        except grpc.RpcError as error:
            raise _explain(error) from error
        return self._types[f"{OWN}.{answered}"].FromString(data)


class RecordingCall:
    """A recording that this client began: iterate over what the recorder says about it."""

    def __init__(self, channel: grpc.Channel, types: Messages, request: RecordingRequest) -> None:
        """Call; nothing is waited for."""
        self._types = types
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._requests.put(_start(types, request))
        self._stopping = False
        options = _options(types, request)
        metadata: tuple[tuple[str, str | bytes], ...] = ((OPTIONS_KEY, options),) if options else ()
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            f"/{RECORDER}/Record"
        )
        self._call = call(iter(self._requests.get, None), metadata=metadata)

    def stop(self) -> None:
        """Ask for the end; as often as one likes, also from a signal handler."""
        if not self._stopping:
            self._stopping = True
            self._requests.put(
                new_message(
                    self._types,
                    "recorder.RecordRequest",
                    stop=new_message(self._types, "recorder.StopRecording"),
                ).SerializeToString()
            )

    def cancel(self) -> None:
        """End the call without waiting for anything."""
        self._requests.put(None)
        self._call.cancel()

    def __iter__(self) -> Iterator[Update]:
        """Give what the recorder says, until the recording is finished.

        Raises:
            RecorderError: It refused, broke, or cannot be reached.
        """
        kind = self._types["recorder.RecordResponse"]
        try:
            for data in self._call:
                answer: DynamicMessage = kind.FromString(data)
                which = answer.WhichOneof("response_type")
                if which is None:
                    continue
                stopped = which == "stopped"
                yield Update(
                    node_name=answer.node_name,
                    time_ns=answer.time.seconds * _NANOSECONDS + answer.time.nanos,
                    statistics=_statistics((answer.stopped if stopped else answer.running).stats),
                    path=answer.stopped.filesink.file_path if stopped else "",
                )
        except grpc.RpcError as error:
            raise _explain(error) from error
        finally:
            self._requests.put(None)

    @property
    def file_name(self) -> str:
        """The name of the file, for `RecorderClient.fetch`; empty for recorders that do not say.

        Raises:
            RecorderError: The recorder refused, or cannot be reached.
        """
        try:
            metadata = self._call.initial_metadata()
        except grpc.RpcError as error:
            raise _explain(error) from error
        return _values(metadata, FILE_KEY)[0] if _values(metadata, FILE_KEY) else ""

    @property
    def reason(self) -> str:
        """Why it ended, when it did; empty for recorders that do not say."""
        found = _values(self._call.trailing_metadata(), REASON_KEY)
        return found[0] if found else ""


def _values(metadata: object, key: str) -> list[str]:
    pairs = metadata if isinstance(metadata, (tuple, list)) else ()
    return [value for name, value in pairs if name == key and isinstance(value, str)]


def _start(types: Messages, request: RecordingRequest) -> bytes:
    message = new_message(types, "recorder.RecordRequest")
    start = message.start
    start.filesink.file_prefix = request.file_prefix
    for one in request.include:
        start.include.add(
            source_cidr=str(one.source),
            source_port=one.source_port,
            destination_cidr=str(one.destination),
            destination_port=one.destination_port,
            protocol=one.protocol,
        )
    start.max_capture_length = request.max_capture_length
    stop = request.stop_condition
    start.stop_condition.bytes_captured_count = stop.bytes_captured_count
    start.stop_condition.packets_captured_count = stop.packets_captured_count
    if stop.time_elapsed_ns:
        set_duration(start.stop_condition.time_elapsed, stop.time_elapsed_ns)
    data: bytes = message.SerializeToString()
    return data


def _options(types: Messages, request: RecordingRequest) -> bytes:
    options = new_message(
        types,
        f"{OWN}.RecordingOptions",
        capture_format=request.capture_format or "",
        rotate_bytes=request.rotate_bytes,
        ring_files=request.ring_files,
        interfaces=request.interfaces,
        from_queue=request.from_queue,
    )
    if request.rotate_ns:
        set_duration(options.rotate_every, request.rotate_ns)
    data: bytes = options.SerializeToString()
    return data


def _statistics(stats: DynamicMessage) -> RecordingStatistics:
    return RecordingStatistics(
        bytes_captured=stats.bytes_captured,
        packets_captured=stats.packets_captured,
        packets_lost=stats.packets_lost,
        bytes_lost=stats.bytes_lost,
    )


def _credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    try:
        authority, certificate, key = (
            Path(one).read_bytes() for one in (tls.authority, tls.certificate, tls.key)
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RecorderError(f"cannot read {error.filename}: {reason}") from error
    return grpc.ssl_channel_credentials(authority, key, certificate)


def _explain(error: grpc.RpcError) -> ClientError:
    failed: Any = error  # of a class that the library keeps to itself, which is a call, too
    code: grpc.StatusCode = failed.code()
    details = failed.details() or code.name
    if code is grpc.StatusCode.UNAVAILABLE:
        made = ClientError(
            f"the recorder cannot be reached ({details}); is it running"
            " (trireme-collector record serve), and may you open its socket?",
            Refusal.UNFIT,
        )
        made.exit_code = ExitCode.NOT_RUNNING
        return made
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ClientError(f"what listens there is no recorder, or not one of ours: {details}")
    return ClientError(f"the recorder refused: {details} ({code.name})")
