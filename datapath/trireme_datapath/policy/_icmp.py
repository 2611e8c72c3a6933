"""The names of ICMP and ICMPv6 types and codes, from the IANA registries."""

from __future__ import annotations

__all__ = ["ICMP_CODES", "ICMP_TYPES"]

ICMP_TYPES: dict[int, dict[str, int]] = {
    1: {
        "echo-reply": 0,
        "destination-unreachable": 3,
        "source-quench": 4,
        "redirect": 5,
        "echo-request": 8,
        "router-advertisement": 9,
        "router-solicitation": 10,
        "time-exceeded": 11,
        "parameter-problem": 12,
        "timestamp-request": 13,
        "timestamp-reply": 14,
        "extended-echo-request": 42,
        "extended-echo-reply": 43,
    },
    58: {
        "destination-unreachable": 1,
        "packet-too-big": 2,
        "time-exceeded": 3,
        "parameter-problem": 4,
        "echo-request": 128,
        "echo-reply": 129,
        "multicast-listener-query": 130,
        "multicast-listener-report": 131,
        "multicast-listener-done": 132,
        "router-solicitation": 133,
        "router-advertisement": 134,
        "neighbor-solicitation": 135,
        "neighbor-advertisement": 136,
        "redirect": 137,
        "multicast-listener-report-v2": 143,
        "extended-echo-request": 160,
        "extended-echo-reply": 161,
    },
}

ICMP_CODES: dict[tuple[int, int], dict[str, int]] = {
    (1, 3): {
        "network-unreachable": 0,
        "host-unreachable": 1,
        "protocol-unreachable": 2,
        "port-unreachable": 3,
        "fragmentation-needed": 4,
        "administratively-prohibited": 13,
    },
    (1, 11): {"ttl-exceeded": 0, "reassembly-time-exceeded": 1},
    (58, 1): {
        "no-route": 0,
        "administratively-prohibited": 1,
        "address-unreachable": 3,
        "port-unreachable": 4,
    },
    (58, 3): {"hop-limit-exceeded": 0, "reassembly-time-exceeded": 1},
}
