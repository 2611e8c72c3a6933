"""Flows as ``hubble observe`` prints them: compact, dict, table, and JSON."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, TypeAlias

from trireme_datapath.monitor._go_text import quoted
from trireme_datapath.observer._fields import child, integer, ports, text, texts
from trireme_datapath.observer._flow_words import flow_type, identity_text, verdict_text
from trireme_datapath.observer._times import TIME_FORMATS, parse_rfc3339
from trireme_datapath.observer.json_form import encode_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Flow: TypeAlias = Mapping[str, object]

__all__ = ["FlowPrinter", "OutputForm"]

_SEPARATOR: Final = "------------"
_HEAD: Final = ("TIMESTAMP", "SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY")
_NODE: Final = "NODE"
_PADDING: Final = 3
_COLORS: Final[Mapping[str, str]] = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "magenta": "35",
    "cyan": "36",
}
_LOST_SOURCE: Final = "UNKNOWN_LOST_EVENT_SOURCE"
_ALARMS: Final[Mapping[str, str]] = {
    "NODE_ERROR": "Error {message} on {count} nodes: {names}",
    "NODE_UNAVAILABLE": "{count} nodes are unavailable: {names}",
}
_NODES_LENGTH: Final = 50  # names of nodes are cut off where they are longer together


class OutputForm(enum.StrEnum):
    """How flows are printed."""

    COMPACT = "compact"
    DICT = "dict"
    JSON = "json"
    JSONPB = "jsonpb"
    TABLE = "table"


class FlowPrinter:
    """Prints responses of ``GetFlows`` in their JSON form.

    Args:
        write: Takes what belongs on standard output.
        complain: Takes what belongs on standard error.
        form: How to print.
        time_format: A name of `TIME_FORMATS`.
        node_name: Whether to print where flows were seen.
        names: Whether to print names in place of addresses where there are some.
        color: Whether to colour; tables never are.
        policy_names: Whether to print which policies decided.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        complain: Callable[[str], object],
        *,
        form: OutputForm = OutputForm.COMPACT,
        time_format: str = "StampMilli",
        node_name: bool = False,
        names: bool = True,
        color: bool = False,
        policy_names: bool = False,
    ) -> None:
        """Start with nothing printed."""
        self._write = write
        self._complain = complain
        self._form = form
        self._time = TIME_FORMATS[time_format]
        self._node_name = node_name
        self._names = names
        self._policy_names = policy_names
        self._color = color and form is not OutputForm.TABLE
        self._printed = 0
        self._rows: list[tuple[str, ...]] = []

    def put(self, response: Mapping[str, object]) -> None:
        """Print one response."""
        if self._form in {OutputForm.JSON, OutputForm.JSONPB}:
            if "node_status" in response:
                self._put_status(response)
            else:
                self._write(encode_json(response) + "\n")
            return
        flow, lost = response.get("flow"), response.get("lost_events")
        if isinstance(flow, dict):
            self._put_flow(flow)
        elif isinstance(lost, dict):
            self._put_lost(lost)
        elif "node_status" in response:
            self._put_status(response)

    def close(self) -> None:
        """Print what had to wait: the columns of a table are as wide as their widest cell."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        columns = len(rows[0]) - 1
        widths = [max(len(row[column]) for row in rows) + _PADDING for column in range(columns)]
        for row in rows:
            cells = "".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True))
            self._write(f"{cells}{row[-1]}\n")

    def _put_flow(self, flow: Flow) -> None:
        source, destination = self._ends(flow)
        stamp, node = self._stamp(flow), _printable(text(flow, "node_name"))
        kind = _printable(flow_type(flow))
        word, color = verdict_text(flow, policies=self._policy_names)
        verdict, summary = self._paint(_printable(word), color), self._summary(flow)
        if self._form is OutputForm.COMPACT:
            self._put_compact(flow, source, destination, f"{kind} {verdict} ({summary})")
        elif self._form is OutputForm.DICT:
            self._put_dict(
                ("TIMESTAMP", stamp),
                (_NODE, node),
                ("SOURCE", source),
                ("DESTINATION", destination),
                ("TYPE", kind),
                ("VERDICT", verdict),
                ("SUMMARY", summary),
            )
        else:
            self._put_row(stamp, node, source, destination, kind, verdict, summary)

    def _put_compact(self, flow: Flow, source: str, destination: str, rest: str) -> None:
        near = self._identity(flow, "source")
        far = self._identity(flow, "destination")
        arrow = "->"
        is_reply = flow.get("is_reply")
        if is_reply is None:
            arrow = "<>"
        elif is_reply:
            source, destination, near, far, arrow = destination, source, far, near, "<-"
        node = f" [{_printable(text(flow, 'node_name'))}]" if self._node_name else ""
        self._write(
            f"{self._stamp(flow)}{node}: {source} {near} {arrow} {destination} {far} {rest}\n"
        )
        self._printed += 1

    def _put_dict(self, *lines: tuple[str, str]) -> None:
        shown = [
            f"{name:>11}: {value}\n" for name, value in lines if name != _NODE or self._node_name
        ]
        separator = f"{_SEPARATOR}\n" if self._printed else ""
        self._write(separator + "".join(shown))
        self._printed += 1

    def _put_row(self, stamp: str, node: str, *cells: str) -> None:
        if not self._rows:
            head = (_HEAD[0], _NODE, *_HEAD[1:]) if self._node_name else _HEAD
            self._rows.append(head)
        self._rows.append((stamp, node, *cells) if self._node_name else (stamp, *cells))

    def _put_lost(self, lost: Flow) -> None:
        source = text(lost, "source") or _LOST_SOURCE
        count, cpu = text(lost, "num_events_lost") or "0", integer(lost, "cpu")
        if self._form is OutputForm.COMPACT:
            self._write(f"EVENTS LOST: {source} CPU({cpu}) {count}\n")
            self._printed += 1
        elif self._form is OutputForm.DICT:
            self._put_dict(
                ("TIMESTAMP", ""),
                (_NODE, ""),
                ("SOURCE", source),
                ("TYPE", "EVENTS LOST"),
                ("VERDICT", ""),
                ("SUMMARY", f"CPU({cpu}) - {count}"),
            )
        else:
            self._put_row("", "", source, "", "EVENTS LOST", "", f"CPU({cpu}) - {count}")

    def _put_status(self, response: Flow) -> None:
        status = child(response, "node_status")
        form = _ALARMS.get(text(status, "state_change"))
        if form is None:
            return
        if self._form in {OutputForm.JSON, OutputForm.JSONPB}:
            self._complain(encode_json(response) + "\n")
            return
        nodes = texts(status, "node_names")
        names, message = _printable(_cut_off(nodes)), text(status, "message")
        if self._form is OutputForm.DICT:
            # The separator stands between flows and this, where both go to one terminal.
            self._complain(
                (f"{_SEPARATOR}\n" if self._printed else "")
                + f"  TIMESTAMP: {self._stamp(response)}\n"
                + f"      STATE: {text(status, 'state_change')}\n"
                + f"      NODES: {names}\n"
                + f"    MESSAGE: {quoted(message) if message else 'N/A'}\n"
            )
            self._printed = self._printed or 1
            return
        said = form.format(count=len(nodes), names=names, message=quoted(message))
        where = _printable(text(response, "node_name"))
        self._complain(f"{self._stamp(response)} [{where}]: {said}\n")

    def _stamp(self, message: Flow) -> str:
        time_ns = parse_rfc3339(text(message, "time"))
        return "N/A" if time_ns is None else self._time(time_ns)

    def _ends(self, flow: Flow) -> tuple[str, str]:
        if "IP" not in flow:
            ethernet = child(flow, "ethernet")
            if not ethernet:
                return "", ""
            near, far = text(ethernet, "source"), text(ethernet, "destination")
            return self._paint(_printable(near), "cyan"), self._paint(_printable(far), "cyan")
        both = ports(flow) or (0, 0)
        near, far = (
            self._host(flow, side, port)
            for side, port in zip(("source", "destination"), both, strict=True)
        )
        return near, far

    def _host(self, flow: Flow, side: str, port: int) -> str:
        host = text(child(flow, "IP"), side)
        if self._names:
            host = _name(flow, side) or host
        host = _printable(host)
        if port:
            host = f"[{host}]" if ":" in host or "%" in host else host
            host = f"{host}:{self._paint(str(port), 'yellow')}"
        return self._paint(host, "cyan")

    def _identity(self, flow: Flow, side: str) -> str:
        return self._paint(identity_text(integer(child(flow, side), "identity")), "magenta")

    def _summary(self, flow: Flow) -> str:
        summary = _printable(text(flow, "Summary"))
        auth = flow.get("auth_type")
        if not auth:
            return summary
        color = "red" if auth == "TEST_ALWAYS_FAIL" else "green"
        return f"{summary}; Auth: {self._paint(_printable(str(auth)), color)}"

    def _paint(self, word: str, color: str) -> str:
        if not (self._color and color):
            return word
        return f"\x1b[{_COLORS[color]}m{word}\x1b[0m"


def _name(flow: Flow, side: str) -> str:
    end, service = child(flow, side), child(flow, f"{side}_service")
    namespace = text(service or end, "namespace").rstrip("/")
    name = text(end, "pod_name") or text(service, "name")
    if name:
        return f"{namespace}/{name}" if namespace else name
    return ",".join(texts(flow, f"{side}_names"))


def _cut_off(names: list[str]) -> str:
    length = 0
    for index, name in enumerate(names):
        length += len(name.encode()) + 2
        if index and length > _NODES_LENGTH:
            return f"{', '.join(names[:index])} (and {len(names) - index} more)"
    return ", ".join(names)


def _printable(value: str) -> str:
    """Escape what could command a terminal, or make two lines of one."""
    if value.isprintable():
        return value
    return "".join(c if c.isprintable() else "^[" if c == "\x1b" else ascii(c)[1:-1] for c in value)
