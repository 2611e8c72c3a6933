"""What commands read flow logs and their configuration from."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trireme_collector.errors import ConfigError
from trireme_collector.netobserv import flow_fields, flows_from_record
from trireme_collector.records import FlowRecord, Record, decode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trireme_collector.netobserv import FlowReader

__all__ = ["load_tracking_config", "native_flows", "native_records"]


def native_records(lines: Sequence[bytes], reader: FlowReader) -> Iterator[Record]:
    """Read records of our own; what is none is counted as broken."""
    for line in lines:
        if not line:
            continue
        reader.lines += 1
        try:
            yield decode_json(line)
        except (ValueError, RecursionError):
            reader.broken += 1


def native_flows(lines: Sequence[bytes], reader: FlowReader) -> list[dict[str, object]]:
    """Make flow logs of the flow records among records of our own."""
    return [
        flow_fields(flow)
        for record in native_records(lines, reader)
        if isinstance(record, FlowRecord)
        for flow in flows_from_record(record)
    ]


def load_tracking_config(path: str) -> dict[str, object]:
    """Read a configuration of conversation tracking, JSON or TOML.

    Raises:
        ConfigError: It cannot be read, or is neither.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}; check the path and its rights"
        raise ConfigError(msg) from error
    try:
        if path.endswith(".toml"):
            return tomllib.loads(content.decode())
        return msgspec.json.decode(content, type=dict[str, object])
    except (ValueError, RecursionError) as error:
        msg = f"{path}: {error}; expected an object in JSON, or TOML in a file named *.toml"
        raise ConfigError(msg) from error
