"""Responses of ``GetFlows`` out of lines: Hubble's JSON, and records of our own."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from trireme_collector.formats import drop_to_hubble, flow_to_hubble, record_time_ns
from trireme_collector.records import FlowRecord, PacketReport, decode_json
from trireme_datapath.observer._packet_flows import packet_to_hubble
from trireme_datapath.observer._times import json_time, parse_rfc3339
from trireme_datapath.observer.flow_filter import FilterError, compile_filters
from trireme_datapath.observer.json_form import FLOW, RESPONSE, read_message
from trireme_datapath.observer.reader import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trireme_datapath.observer.reader import FlowsRequest

__all__ = ["MAX_LAST", "LineReader", "read_responses"]

MAX_LAST: Final = 1_000_000
"""So many flows are kept at most to find the last ones of a file."""
_EVERYTHING: Final = 1 << 63
_KINDS: Final = ("flow", "lost_events", "node_status")


def read_responses(line: bytes) -> list[dict[str, object]]:
    """Read a line.

    Returns:
        The responses in their JSON form: one, two for a denied flow, which is a drop besides, and
        none for a record that is no flow.

    Raises:
        ValueError: The line is neither a response nor a record.
    """
    try:
        value: object = msgspec.json.decode(line)
        if isinstance(value, dict) and any(isinstance(value.get(kind), dict) for kind in _KINDS):
            return [read_message(RESPONSE, value)]
        record = decode_json(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(record, FlowRecord):
        drop = drop_to_hubble(record)
        flow = flow_to_hubble(record)
        return [_response(record, one) for one in ((flow,) if drop is None else (flow, drop))]
    if isinstance(record, PacketReport):
        return [_response(record, packet_to_hubble(record))]
    return []


def _response(record: FlowRecord | PacketReport, flow: dict[str, object]) -> dict[str, object]:
    time_ns = record_time_ns(record)
    if time_ns is not None:
        flow["time"] = json_time(time_ns)
    flow.setdefault("node_name", record.instance or "")
    tidy = read_message(FLOW, flow)
    response: dict[str, object] = {"flow": tidy}
    for name in ("node_name", "time"):
        if tidy.get(name):
            response[name] = tidy[name]
    return response


class LineReader:
    """Chooses among the lines of a file as a server would among its flows.

    Args:
        request: What is wanted. Without a number, everything; `follow` says nothing here.

    Attributes:
        broken: Lines that are neither responses nor records.
        read: Lines that are.

    Raises:
        RequestError: The request cannot be honoured.
    """

    def __init__(self, request: FlowsRequest) -> None:
        """Check the request."""
        try:
            self._fits = compile_filters(request.allow, request.deny)
        except FilterError as error:
            raise RequestError(str(error)) from error
        self._request = request
        self.broken = self.read = 0
        if self._keeps_last and request.number > MAX_LAST:
            raise RequestError(f"--last must be at most {MAX_LAST}, got {request.number}")

    @property
    def _keeps_last(self) -> bool:
        return not self._request.first and 0 < self._request.number < _EVERYTHING

    def responses(self, lines: Iterable[bytes]) -> Iterator[dict[str, object]]:
        """Give what is wanted, in the order of the lines."""
        number = self._request.number
        if self._keeps_last:
            yield from deque(self._wanted(lines), maxlen=number)
            return
        for count, response in enumerate(self._wanted(lines), 1):
            yield response
            if count == number:
                return

    def _wanted(self, lines: Iterable[bytes]) -> Iterator[dict[str, object]]:
        for line in lines:
            if not line.strip():
                continue
            try:
                responses = read_responses(line)
            except ValueError:
                self.broken += 1
                continue
            self.read += 1
            for response in responses:
                if self._is_wanted(response):
                    yield response

    def _is_wanted(self, response: dict[str, object]) -> bool:
        flow = response.get("flow")
        if not isinstance(flow, dict):
            # No filter ever fits what is no flow; without any it is shown.
            return self._fits is None and self._is_in_time(response, {})
        return self._is_in_time(response, flow) and (self._fits is None or self._fits(flow))

    def _is_in_time(self, response: dict[str, object], flow: dict[str, object]) -> bool:
        since_ns, until_ns = self._request.since_ns, self._request.until_ns
        if since_ns is None and until_ns is None:
            return True
        said = response.get("time") or flow.get("time")
        time_ns = parse_rfc3339(said) if isinstance(said, str) else None
        if time_ns is None:
            return False
        if since_ns is not None and time_ns < since_ns:
            return False
        return until_ns is None or time_ns <= until_ns
