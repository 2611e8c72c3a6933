"""The files of the BPF programs, as a drop notification numbers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BPF_FILES", "bpf_file_name"]

BPF_FILES: Mapping[int, str] = {
    1: "bpf_host.c",
    2: "bpf_lxc.c",
    3: "bpf_overlay.c",
    4: "bpf_xdp.c",
    5: "bpf_sock.c",
    6: "bpf_network.c",
    7: "bpf_wireguard.c",
    101: "arp.h",
    102: "drop.h",
    103: "srv6.h",
    104: "icmp6.h",
    105: "nodeport.h",
    106: "lb.h",
    107: "mcast.h",
    108: "ipv4.h",
    109: "conntrack.h",
    110: "l3.h",
    111: "trace.h",
    112: "encap.h",
    113: "encrypt.h",
}


def bpf_file_name(number: int) -> str:
    """Name a file; an unknown one by its number."""
    return BPF_FILES.get(number) or f"unknown({number})"
