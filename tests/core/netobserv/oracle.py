"""The tracker of the original, written down as plainly as its description.

Lists are searched from end to end and nothing is kept ready: this is for comparing, not for use.
"""

from __future__ import annotations

import operator
import sys
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from trireme_collector.netobserv._config import read_tracking_config
from trireme_collector.netobserv._durations import parse_duration
from trireme_collector.netobserv._go_values import float_of, is_true, uint32_of
from trireme_collector.netobserv._hash import (
    SIGNED_FIELDS,
    UNSIGNED_FIELDS,
    KeyHash,
    KeyHasher,
    Numbers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector.netobserv._config import OutputField

_LARGEST = sys.float_info.max
_START = {"sum": 0.0, "count": 0.0, "min": _LARGEST, "max": -_LARGEST, "first": None, "last": None}

_WORK: dict[str, Callable[[float, float], float]] = {"sum": operator.add, "min": min, "max": max}


class Oracle:
    """Follows conversations, flow log by flow log."""

    def __init__(self, config: dict[str, Any], numbers: Numbers) -> None:
        """Read a configuration."""
        self.config = read_tracking_config(config, "strict")
        self.hasher = KeyHasher(self.config.key_definition, numbers)
        self.numbers = numbers
        self.types = self.config.output_record_types
        # In order of their last update, of their end and of their next report.
        self.active: list[dict[str, Any]] = []
        self.terminating: list[dict[str, Any]] = []
        self.beats: list[dict[str, Any]] = []

    def process(self, flows: list[dict[str, Any]], now: int) -> list[dict[str, Any]]:
        """Take a batch."""
        out: list[dict[str, Any]] = []
        for flow in flows:
            if float_of(flow.get("Proto")) in (6.0, 17.0, 132.0):
                self._flow(flow, now * 1_000_000, out)
        self._time(now * 1_000_000, out)
        return out

    def _flow(self, flow: dict[str, Any], now: int, out: list[dict[str, Any]]) -> None:
        hashed = self.hasher.hash([flow.get(name, UNSET) for name in self.hasher.fields])
        flags = uint32_of(flow.get("Flags", UNSET)) or 0
        if not is_true(flow.get("Duplicate", False)):
            every = self.active + self.terminating
            found = next((c for c in every if c["id"] == hashed.total), None)
            limit = self.config.max_connections_tracked
            if found is None and not (0 < limit <= len(every)):
                found = self._new(flow, hashed, flags, now)
                self._apply(found, flow, hashed.a, flags, now, is_new=True)
                if "newConnection" in self.types:
                    out.append(self._record(found, "newConnection"))
            elif found is not None:
                self._apply(found, flow, hashed.a, flags, now, is_new=False)
        if "flowLog" in self.types:
            out.append({**flow, "_HashId": f"{hashed.total:x}", "_RecordType": "flowLog"})

    def _new(self, flow: dict[str, Any], hashed: KeyHash, flags: int, now: int) -> dict[str, Any]:
        definition = self.config.key_definition
        keys = {name: flow.get(name) for name in definition.fields}
        swap = self.config.tcp_flags.swap_ab and flags & 0x100
        if swap:
            sides = [
                definition.side(n)
                for n in (definition.hash.field_group_a_ref, definition.hash.field_group_b_ref)
            ]
            for one, other in zip(*sides, strict=True):
                keys[one], keys[other] = flow.get(other), flow.get(one)
        group = next(
            index
            for index, group in enumerate(self.config.scheduling)
            if all(float_of(keys[k]) == float_of(v) for k, v in group.selector.items())
        )
        conversation = {
            "id": hashed.total,
            "side": hashed.b if swap else hashed.a,
            "keys": keys,
            "group": group,
            "reported": False,
            "sums": {n: _START[f.operation] for f in self.config.output_fields for n in f.names},
            "beat": now + parse_duration(self.config.scheduling[group].heartbeat_interval),
        }
        self.active.append(conversation)
        self.beats.append(conversation)
        return conversation

    def _apply(
        self,
        c: dict[str, Any],
        flow: dict[str, Any],
        side: int,
        flags: int,
        now: int,
        *,
        is_new: bool,
    ) -> None:
        for field in self.config.output_fields:
            name = field.names[0 if c["side"] == side or not field.split_ab else 1]
            value = flow.get(field.source)
            if field.operation == "first":
                c["sums"][name] = value if is_new else c["sums"][name]
            elif field.operation == "last":
                c["sums"][name] = c["sums"][name] if value is None else value
            elif field.operation == "count":
                c["sums"][name] += 1
            elif value is not None or not field.report_missing:
                number = 0.0 if value is None else float_of(value)
                if number is not None:
                    work = _WORK[field.operation]
                    c["sums"][name] = work(c["sums"][name], number)
        scheduling = self.config.scheduling[c["group"]]
        is_active = c in self.active
        if self.config.tcp_flags.detect_end_connection and flags & 1:
            if is_active:
                self.active.remove(c)
                self.beats.remove(c)
                self.terminating.append(c)
                c["expiry"] = now + parse_duration(scheduling.terminating_timeout)
        elif is_active:
            self.active.remove(c)
            self.active.append(c)
            c["expiry"] = now + parse_duration(scheduling.end_connection_timeout)

    def _time(self, now: int, out: list[dict[str, Any]]) -> None:
        for group in range(len(self.config.scheduling)):
            for store in (self.terminating, self.active):
                for c in [c for c in store if c["group"] == group]:
                    if now <= c["expiry"]:
                        break
                    store.remove(c)
                    if c in self.beats:
                        self.beats.remove(c)
                    if "endConnection" in self.types:
                        out.append(self._record(c, "endConnection"))
        if "heartbeat" not in self.types:
            return
        for group, scheduling in enumerate(self.config.scheduling):
            for c in [c for c in self.beats if c["group"] == group]:
                if now <= c["beat"]:
                    break
                c["beat"] = now + parse_duration(scheduling.heartbeat_interval)
                self.beats.remove(c)
                self.beats.append(c)
                out.append(self._record(c, "heartbeat"))

    def _is_integer(self, field: OutputField) -> bool:
        """Say whether a copied number is none of the floats of which zeros are left out."""
        integers = UNSIGNED_FIELDS | SIGNED_FIELDS if self.numbers == "agent" else set()
        return field.operation in ("first", "last") and field.source in integers

    def _record(self, c: dict[str, Any], kind: str) -> dict[str, Any]:
        is_first, c["reported"] = not c["reported"], True
        sources = {n: f for f in self.config.output_fields for n in f.names}
        kept = {
            name: value
            for name, value in c["sums"].items()
            if value is not None
            and (value != 0 or value is False or self._is_integer(sources[name]))
        }
        own = {"_HashId": f"{c['id']:x}", "_RecordType": kind, "_IsFirst": is_first}
        return {**kept, **c["keys"], **own}
