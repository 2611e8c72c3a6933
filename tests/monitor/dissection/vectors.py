"""The recorded packets and flows, and what Cilium makes of them."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.monitor.cilium_vectors import document

__all__ = ["FLOW_CASES", "PACKET_CASES", "PacketCase", "all_packets"]

_PROFILES = {"1.16.2": "1.16", "1.9.18": "1.9"}
# Where the packet begins, by type of message; two numbers where the profiles differ.
_PACKET_OFFSETS = {"capture": 24, "policy-verdict": 32, "recorder": 24}


class PacketCase(msgspec.Struct, frozen=True, kw_only=True):
    """A packet, and what is printed of it; without what follows a crash."""

    id: str
    profile: str
    packet: bytes
    summary: str
    connection: dict[str, Any]
    dissected: str
    dumped: str
    json: str | None


def _printed(value: str | dict[str, str]) -> str:
    return value["out"] if isinstance(value, dict) else value


def _load() -> tuple[list[PacketCase], list[dict[str, Any]], list[bytes]]:
    packets, flows, bare = [], [], []
    for version, content in document()["profiles"].items():
        profile = _PROFILES[version]
        for case in content["cases"]:
            if "flow" in case:
                flows.append(case)
            if case["type"] == "packet":
                data = bytes.fromhex(case["hex"])
                bare.append(data)
                packets.append(
                    PacketCase(
                        id=f"{profile}-{case['id']}",
                        profile=profile,
                        packet=data,
                        summary=case["summary"],
                        connection=case["conn"],
                        dissected=_printed(case["dissect"]),
                        dumped=case["hexdump"],
                        json=_json(case["dissect_json"]),
                    )
                )
            elif "hex" in case:
                data = bytes.fromhex(case["hex"])
                bare.append(data[_offset(case["type"], data, profile) :])
    return packets, flows, bare


def _json(value: str | dict[str, str]) -> str | None:
    return None if isinstance(value, dict) else value


def _offset(kind: str, data: bytes, profile: str) -> int:
    if kind == "drop":
        return 32 if profile == "1.9" else 36
    if kind == "trace":
        return 48 if data[14:15] == b"\x01" else 32
    return _PACKET_OFFSETS.get(kind, len(data))


PACKET_CASES, FLOW_CASES, _PACKETS = _load()


def all_packets() -> list[bytes]:
    """Give every packet, bare or inside of a message, once."""
    return sorted(set(_PACKETS))
