"""The gRPC services of the recorder: the Hubble Recorder, and ours to list, stop and fetch."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import grpc
import structlog

from trireme_datapath.grpc_server import Messages, Service
from trireme_datapath.recorder._errors import RecorderError, Refusal
from trireme_datapath.recorder._grpc_requests import (
    DynamicMessage,
    fill_statistics,
    invalid_request,
    new_message,
    parse_message,
    recording_request,
    set_time,
)
from trireme_datapath.recorder._recording import RecordingStatistics, StopReason
from trireme_datapath.recorder.protocol import (
    FILE_KEY,
    OPTIONS_KEY,
    OWN,
    REASON_KEY,
    RECORDER,
    recorder_schema,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message
    from structlog.typing import FilteringBoundLogger

    from trireme_datapath.grpc_server import GrpcServers
    from trireme_datapath.recorder.recorder import ActiveRecording, Recorder

    Handler = grpc.RpcMethodHandler[Message, Message]
    Context = grpc.aio.ServicerContext[bytes, bytes]

__all__ = ["RecorderService", "caller_of"]

_T = TypeVar("_T")
_P = ParamSpec("_P")

FIRST_MESSAGE_SECONDS: Final = 30.0
WRITE_SECONDS: Final = 60.0
_CHUNK: Final = 256 * 1024
_FOLLOW_SECONDS: Final = 0.2
_WORKERS: Final = 8

_CODES: Final = {
    Refusal.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Refusal.UNFIT: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Refusal.FORBIDDEN: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.UNKNOWN_RECORDING: grpc.StatusCode.NOT_FOUND,
    Refusal.CLOSING: grpc.StatusCode.UNAVAILABLE,
    Refusal.GONE: grpc.StatusCode.ABORTED,
    Refusal.FAILED: grpc.StatusCode.INTERNAL,
}

_log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.recorder")


class RecorderService:
    """Serves a recorder to clients.

    Args:
        recorder: The recorder; its owner's to close.
        who: Says who makes a call, by its context.
        first_message_seconds: How long a client may be silent after it called.
        write_seconds: How long a client may leave an answer unread before it counts as gone.

    Attributes:
        clients: Calls that are open.
        refused: Recordings that could not begin, by why.
    """

    def __init__(
        self,
        recorder: Recorder,
        who: Callable[[Context], str],
        *,
        first_message_seconds: float = FIRST_MESSAGE_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        """Wrap the recorder."""
        self._recorder = recorder
        self._who = who
        self.clients = 0
        self.refused: Counter[str] = Counter()
        self._first_message_seconds = first_message_seconds
        self._write_seconds = write_seconds
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="recorder")
        self._types = Messages(recorder_schema())

    def services(self) -> tuple[Service, Service]:
        """Give what a server offers: the Hubble Recorder, and our own."""
        files = self._types.files
        record: Handler = grpc.stream_stream_rpc_method_handler(self._guard(self._record))
        own: dict[str, Handler] = {
            "List": grpc.unary_unary_rpc_method_handler(self._guard_unary(self._list)),
            "Stop": grpc.unary_unary_rpc_method_handler(self._guard_unary(self._stop)),
            "Fetch": grpc.unary_stream_rpc_method_handler(self._guard(self._fetch)),
        }
        return (
            Service(RECORDER, {"Record": record}, files, stop=self._recorder.shut_down),
            Service(f"{OWN}.Recordings", own, files),
        )

    def close(self) -> None:
        """Let go of the threads."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    # What all methods share.

    def _guard(
        self, method: Callable[[_T, Context], Awaitable[None]]
    ) -> Callable[[_T, Context], Awaitable[None]]:
        @functools.wraps(method)
        async def guarded(request: _T, context: Context) -> None:
            self.clients += 1
            try:
                await method(request, context)
            except RecorderError as error:
                await self._abort(context, error)
            finally:
                self.clients -= 1

        return guarded

    def _guard_unary(
        self, method: Callable[[bytes, Context], Awaitable[bytes]]
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        @functools.wraps(method)
        async def guarded(request: bytes, context: Context) -> bytes:
            try:
                return await method(request, context)
            except RecorderError as error:
                await self._abort(context, error)
                return b""

        return guarded

    async def _abort(self, context: Context, error: RecorderError) -> None:
        strict = self._recorder.config.strict_compat
        code = grpc.StatusCode.UNKNOWN if strict else _CODES[error.refusal]
        await context.abort(code, str(error))

    async def _work(
        self, function: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs
    ) -> _T:
        """Run what touches files in a thread: the loop serves all clients."""
        call = functools.partial(function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._workers, call)

    # /recorder.Recorder/Record

    async def _record(self, _requests: object, context: Context) -> None:
        who = self._who(context)
        try:
            active = await self._begin(context, who)
        except RecorderError as error:
            self.refused[error.refusal.value] += 1
            raise
        try:
            await self._attend(active, context)
        except asyncio.CancelledError:
            _log.info("recording_client_gone", path=active.path, who=who)
            raise
        finally:
            active.stop(StopReason.GONE)  # no more than a word if it ended

    async def _begin(self, context: Context, who: str) -> ActiveRecording:
        first = await self._first(context)
        start = first.start
        options = parse_message(self._types, f"{OWN}.RecordingOptions", _options(context))
        request = recording_request(start, options)
        starting = asyncio.ensure_future(self._work(self._recorder.start, request, who))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # It may begin nevertheless; nobody would end it.
            starting.add_done_callback(_forget)
            raise

    async def _first(self, context: Context) -> DynamicMessage:
        try:
            data = await asyncio.wait_for(context.read(), self._first_message_seconds)
        except TimeoutError:
            raise RecorderError(
                f"no request came within {self._first_message_seconds:g} seconds", Refusal.GONE
            ) from None
        if not isinstance(data, bytes):
            raise RecorderError("failed to receive from recorder client: EOF")
        message = parse_message(self._types, "recorder.RecordRequest", data)
        if message.WhichOneof("request_type") != "start":
            raise invalid_request(message, "start")
        return message

    async def _attend(self, active: ActiveRecording, context: Context) -> None:
        """Tell a client how its recording goes, until it ended."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        active.when_ended(functools.partial(_tell, loop, ended))
        await context.send_initial_metadata(((FILE_KEY, active.name),))
        await self._write(context, self._response(None))
        listening = asyncio.create_task(self._listen(active, context))
        ending = asyncio.create_task(ended.wait())
        try:
            while not ended.is_set():
                waiting = {ending} if listening.done() else {ending, listening}
                await asyncio.wait(
                    waiting,
                    timeout=self._recorder.config.update_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if listening.done():
                    listening.result()
                if not ended.is_set():
                    await self._write(context, self._response(active.statistics))
        finally:
            for task in (listening, ending):
                task.cancel()
            await asyncio.gather(listening, ending, return_exceptions=True)
        active.raise_error()
        context.set_trailing_metadata(
            (
                (REASON_KEY, str(active.reason or "")),
                *((FILE_KEY, name) for name in active.names[-_MAX_NAMES:]),
            )
        )
        await self._write(context, self._response(active.statistics, active.path))

    async def _listen(self, active: ActiveRecording, context: Context) -> None:
        """Obey requests; ends once the recording was stopped.

        Raises:
            RecorderError: The client said something else, or nothing more.
        """
        while True:
            data = await context.read()
            if not isinstance(data, bytes):
                raise RecorderError("failed to receive from recorder client: EOF", Refusal.GONE)
            message = parse_message(self._types, "recorder.RecordRequest", data)
            if message.WhichOneof("request_type") != "stop":
                raise invalid_request(message, "stop")
            active.stop()
            return  # whatever else comes is of no interest: the answer is on its way

    def _response(self, statistics: RecordingStatistics | None, path: str | None = None) -> bytes:
        message = new_message(self._types, "recorder.RecordResponse")
        message.node_name = self._recorder.node_name
        set_time(message.time, time.time_ns())
        kind = message.running if path is None else message.stopped
        fill_statistics(kind.stats, statistics or RecordingStatistics())
        if path is not None:
            message.stopped.filesink.file_path = path
        data: bytes = message.SerializeToString()
        return data

    async def _write(self, context: Context, data: bytes) -> None:
        try:
            await asyncio.wait_for(context.write(data), self._write_seconds)
        except TimeoutError:
            raise RecorderError(
                f"the client did not read for {self._write_seconds:g} seconds", Refusal.GONE
            ) from None

    # /trireme.recorder.v1.Recordings

    async def _list(self, request: bytes, _context: Context) -> bytes:
        parse_message(self._types, f"{OWN}.ListRequest", request)
        answer = new_message(self._types, f"{OWN}.ListResponse")
        for one in await self._work(self._recorder.entries):
            entry = answer.recordings.add(
                name=one.name,
                path=one.path,
                running=one.running,
                size_bytes=one.size_bytes,
                who=one.who,
            )
            set_time(entry.modified, one.modified_ns)
            if one.statistics is not None:
                fill_statistics(entry.stats, one.statistics)
        data: bytes = answer.SerializeToString()
        return data

    async def _stop(self, request: bytes, context: Context) -> bytes:
        name = parse_message(self._types, f"{OWN}.StopRequest", request).name
        active = self._recorder.stop(name, self._who(context))
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        active.when_ended(functools.partial(_tell, loop, ended))
        await ended.wait()
        active.raise_error()
        answer = new_message(self._types, f"{OWN}.StopResponse", path=active.path)
        fill_statistics(answer.stats, active.statistics)
        data: bytes = answer.SerializeToString()
        return data

    async def _fetch(self, request: bytes, context: Context) -> None:
        asked = parse_message(self._types, f"{OWN}.FetchRequest", request)
        descriptor = await self._work(self._recorder.store.open_for_reading, asked.name)
        kind = f"{OWN}.FetchResponse"
        try:
            while True:
                # Looked at before the file is: what is written last is read, too.
                runs = asked.follow and self._is_running(asked.name)
                data = await self._work(os.read, descriptor, _CHUNK)
                if data:
                    answer = new_message(self._types, kind, data=data)
                    await self._write(context, answer.SerializeToString())
                elif runs:
                    await asyncio.sleep(_FOLLOW_SECONDS)
                else:
                    break
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise RecorderError(f"cannot read {asked.name}: {reason}", Refusal.FAILED) from error
        finally:
            os.close(descriptor)

    def _is_running(self, name: str) -> bool:
        return any(one.name == name and not one.ended.is_set() for one in self._recorder.active)


_MAX_NAMES: Final = 20  # metadata is bounded; the list of recordings has them all


def caller_of(servers: GrpcServers) -> Callable[[Context], str]:
    """Make what says who makes a call: a user of this host, or the name in a certificate."""

    def who(context: Context) -> str:
        peer = context.peer()
        local = servers.peer(peer)
        if local is not None:
            return str(local)
        found = context.auth_context() or {}
        names = found.get("x509_subject_alternative_name") or found.get("x509_common_name") or ()
        subject = ", ".join(name.decode("utf-8", "replace") for name in names)
        return f"{subject or 'somebody'} at {peer}"

    return who


def _tell(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the server is gone, and nobody waits any more
        loop.call_soon_threadsafe(ended.set)


def _options(context: Context) -> bytes:
    for key, value in context.invocation_metadata() or ():
        if key == OPTIONS_KEY:
            return value if isinstance(value, bytes) else value.encode()
    return b""


def _forget(starting: asyncio.Future[ActiveRecording]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().stop(StopReason.GONE)
