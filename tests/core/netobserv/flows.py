"""Flow logs and configurations for tests."""

from __future__ import annotations

from typing import Any

from trireme_collector.netobserv import default_tracking_config

ALL_TYPES = ["flowLog", "newConnection", "heartbeat", "endConnection"]


def config(**changes: object) -> dict[str, Any]:
    """Give the default configuration, all record types, with changes."""
    return {**default_tracking_config(), "outputRecordTypes": ALL_TYPES, **changes}


def flow(source: int = 1, destination: int = 2, **fields: object) -> dict[str, Any]:
    """Give a flow log; the hosts are numbers."""
    return {
        "SrcAddr": f"192.0.2.{source}",
        "SrcPort": 40000 if source < destination else 443,
        "DstAddr": f"192.0.2.{destination}",
        "DstPort": 443 if source < destination else 40000,
        "Proto": 6,
        **fields,
    }


def kinds(records: list[dict[str, Any]]) -> list[str]:
    """List the types of records."""
    return [record["_RecordType"] for record in records]
