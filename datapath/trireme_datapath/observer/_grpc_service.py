"""The services ``observer.Observer`` and ``peer.Peer``."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import grpc

from trireme_datapath.grpc_server import Service, unary, unary_stream
from trireme_datapath.observer._grpc_forms import (
    encode_flow,
    encode_lost,
    encode_masked,
    messages,
    read_form,
    unknown_field,
)
from trireme_datapath.observer.field_mask import FieldMask
from trireme_datapath.observer.flow_filter import FilterError, read_filter
from trireme_datapath.observer.metrics import ObserverCounts
from trireme_datapath.observer.reader import FlowsRequest, RequestError
from trireme_datapath.observer.seen import SeenFlow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from google.protobuf.message import Message

    from trireme_datapath.observer.core import FlowObserver
    from trireme_datapath.observer.reader import FlowReader
    from trireme_datapath.observer.seen import LostEvents

    _Context = grpc.aio.ServicerContext[Message, Message]

__all__ = ["ObserverService", "read_request"]

_SECOND: Final = 1_000_000_000
_LATEST_SECONDS: Final = 253_402_300_799
_PORTION: Final = 128
# Followers are woken so often at most: what comes meanwhile is sent in one go.
_WAKE_SECONDS: Final = 0.01
_MAX_FILTERS: Final = 256
_CONNECTED: Final = 1
_PEER_ADDED: Final = 1
_ENDING: Final = "the agent ends; ask again when it runs"


class ObserverService:
    """Answers as Hubble's server on one node does.

    Args:
        observer: Who sees the flows.
        version: What to say when somebody asks for the version.
        address: Where this node is reached, for those who list nodes.
        max_rate: How many flows to send in a second, to all clients together; 0 for any number.
        clock: The time, nanoseconds since 1970 UTC.

    Attributes:
        counts: What became of flows that clients asked for.
    """

    def __init__(
        self,
        observer: FlowObserver,
        *,
        version: str,
        address: str = "",
        max_rate: int = 0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Keep who knows the answers."""
        self._observer = observer
        self._version = version
        self._address = address
        self._clock = clock
        self.counts = ObserverCounts()
        self._pace = _Pace(max_rate)
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    def services(self) -> list[Service]:
        """Give the services for a server."""
        request = messages().__getitem__
        observer = {
            "GetFlows": unary_stream(self._get_flows, request("observer.GetFlowsRequest")),
            "GetNodes": unary(self._get_nodes, request("observer.GetNodesRequest")),
            "GetNamespaces": unary(self._get_namespaces, request("observer.GetNamespacesRequest")),
            "ServerStatus": unary(self._server_status, request("observer.ServerStatusRequest")),
        }
        peer = {"Notify": unary_stream(self._notify, request("peer.NotifyRequest"))}
        files = messages().files
        return [
            Service(
                name="observer.Observer",
                handlers=observer,
                files=files,
                health_names=("hubble.server.Observer",),
                stop=self.stop,
            ),
            Service(name="peer.Peer", handlers=peer, files=files),
        ]

    def stop(self) -> None:
        """End the streams that have no end."""
        self._stopping.set()
        self._set_changed()

    async def _get_flows(self, asked: Message, context: _Context) -> AsyncIterator[bytes]:
        reader, mask = await self._begin(asked, context)
        counts = self.counts
        counts.clients += 1
        try:
            while not reader.finished:
                if self._stopping.is_set():
                    await context.abort(grpc.StatusCode.UNAVAILABLE, _ENDING)
                missed = reader.lost
                entries = reader.read(_PORTION, self._clock())
                counts.missed += reader.lost - missed
                await self._pace.wait(len(entries))
                for content in self._contents(entries, mask):
                    yield content
                if reader.waiting:
                    await self._wait(reader)
                else:
                    await asyncio.sleep(0)  # others have their turn
        finally:
            counts.clients -= 1

    def _contents(
        self, entries: Iterable[SeenFlow | LostEvents], mask: FieldMask | None
    ) -> Iterator[bytes]:
        for entry in entries:
            if not isinstance(entry, SeenFlow):
                yield encode_lost(entry, self._observer.node_name)
                continue
            content = self._encode(entry, mask)
            if content:
                self.counts.sent += 1
                yield content

    async def _begin(
        self, asked: Message, context: _Context
    ) -> tuple[FlowReader, FieldMask | None]:
        try:
            request, mask = read_request(asked)
            return self._observer.read(request), mask
        except (FilterError, RequestError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise AssertionError("abort() raises")

    def _encode(self, entry: SeenFlow, mask: FieldMask | None) -> bytes:
        if mask is None:
            return encode_flow(entry, self._observer.maker)
        flow = entry.flow
        tidy = None if flow is None else self._observer.maker.tidy(flow)
        return b"" if tidy is None else encode_masked(mask.apply(tidy))

    async def _wait(self, reader: FlowReader) -> None:
        """Wait until something was written."""
        self._loop = asyncio.get_running_loop()
        changed = self._changed
        self._observer.wake_once(self._wake)
        # Written before we asked to be woken: nobody will.
        if reader.waiting and not self._stopping.is_set():
            await changed.wait()

    def _wake(self) -> None:
        """Wake those who wait, from the thread that writes."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self._wake_later)

    def _wake_later(self) -> None:
        if self._loop is not None:
            self._loop.call_later(_WAKE_SECONDS, self._set_changed)

    def _set_changed(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _server_status(self, asked: Message, context: _Context) -> Message:
        del asked, context
        status = self._observer.status(self._clock())
        return messages()["observer.ServerStatusResponse"](
            num_flows=status.flows,
            max_flows=status.max_flows,
            seen_flows=status.seen,
            uptime_ns=status.uptime_ns,
            version=self._version,
            flows_rate=status.flows_per_second,
        )

    async def _get_nodes(self, asked: Message, context: _Context) -> Message:
        del asked, context
        status = self._observer.status(self._clock())
        node = {
            "name": self._observer.node_name,
            "version": self._version,
            "address": self._address,
            "state": _CONNECTED,
            "uptime_ns": status.uptime_ns,
            "num_flows": status.flows,
            "max_flows": status.max_flows,
            "seen_flows": status.seen,
        }
        return messages()["observer.GetNodesResponse"](nodes=[node])

    async def _get_namespaces(self, asked: Message, context: _Context) -> Message:
        del asked, context
        names = self._observer.namespaces(self._clock())
        namespaces = [{"namespace": name} for name in names]
        return messages()["observer.GetNamespacesResponse"](namespaces=namespaces)

    async def _notify(self, asked: Message, context: _Context) -> AsyncIterator[Message]:
        del asked
        yield messages()["peer.ChangeNotification"](
            name=self._observer.node_name, address=self._address, type=_PEER_ADDED
        )
        await self._stopping.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, _ENDING)


class _Pace:
    """Sees to it that all clients together get no more flows than allowed."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def wait(self, count: int) -> None:
        """Wait until so many more may be sent."""
        if not (self._rate and count):
            return
        now = asyncio.get_running_loop().time()
        # What was not used within the last tenth of a second is forgotten.
        self._free_at = max(self._free_at, now - 0.1) + count / self._rate
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


def read_request(asked: Message) -> tuple[FlowsRequest, FieldMask | None]:
    """Read a request.

    Raises:
        FilterError: A filter is none.
        RequestError: Something else cannot be honoured.
    """
    form = read_form(asked)
    number = form.get("number")
    request = FlowsRequest(
        number=int(str(number)) if number else 0,
        first=bool(form.get("first")),
        follow=bool(form.get("follow")),
        since_ns=_moment(asked, "since"),
        until_ns=_moment(asked, "until"),
        allow=tuple(map(read_filter, _filters(asked, form, "whitelist"))),
        deny=tuple(map(read_filter, _filters(asked, form, "blacklist"))),
    )
    paths = form.get("field_mask")
    experimental = form.get("experimental")
    if not paths and isinstance(experimental, dict):
        paths = experimental.get("field_mask")
    if not paths:
        return request, None
    try:
        return request, FieldMask(str(paths).split(","))
    except ValueError as error:
        raise RequestError(str(error)) from error


def _filters(asked: Message, form: dict[str, object], name: str) -> Iterable[object]:
    for one in getattr(asked, name):
        number = unknown_field(one)
        if number:
            raise FilterError(f"filters by field {number} of FlowFilter are not supported")
    found = form.get(name)
    listed = found if isinstance(found, list) else []
    if len(listed) > _MAX_FILTERS:
        raise FilterError(f"{len(listed)} filters are more than {_MAX_FILTERS}")
    return listed


def _moment(asked: Message, name: str) -> int | None:
    if not asked.HasField(name):
        return None
    moment = getattr(asked, name)
    seconds, nanos = int(moment.seconds), int(moment.nanos)
    if abs(seconds) > _LATEST_SECONDS or not 0 <= nanos < _SECOND:
        raise RequestError(f"{name} is no time of the years 1 to 9999")
    return seconds * _SECOND + nanos
