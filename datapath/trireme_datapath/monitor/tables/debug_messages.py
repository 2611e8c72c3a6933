"""The messages that the datapath leaves when it was built to explain itself.

A text names what it takes from the three arguments of the message:

``{a1}``
    the number; ``{a1:x}`` and ``{a1:#x}`` in hexadecimal
``{n1}``
    its low 16 bits, which are in network order
``{ip1}``, ``{six1}``
    an IPv4 address, or the last four bytes of an IPv6 one
``{low1}``, ``{high1}``, ``{dport3}``, ``{next_header}``
    a part of it
``{tuple}``, ``{pair4}``, ``{pair6}``, ``{proxied}``
    what several arguments say together about a connection
``{link}``, ``{state}``, ``{direction}``, ``{assigned}``
    the word that the number stands for
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEBUG_TEXTS", "DEBUG_TEXTS_1_9", "ConntrackState", "DebugType"]


class DebugType(IntEnum):
    """What a debug message is about.

    The two ``..._LOOKUP_MASTER`` pairs are the names that 1.9 has for ``..._LOOKUP_FRONTEND``.
    """

    UNSPEC = 0
    GENERIC = 1
    LOCAL_DELIVERY = 2
    ENCAP = 3
    LXC_FOUND = 4
    POLICY_DENIED = 5
    CT_LOOKUP = 6
    CT_LOOKUP_REV = 7
    CT_MATCH = 8
    CT_CREATED = 9
    CT_CREATED2 = 10
    ICMP6_HANDLE = 11
    ICMP6_REQUEST = 12
    ICMP6_NS = 13
    ICMP6_TIME_EXCEEDED = 14
    CT_VERDICT = 15
    DECAP = 16
    PORT_MAP = 17
    ERROR_RET = 18
    TO_HOST = 19
    TO_STACK = 20
    PKT_HASH = 21
    LB6_LOOKUP_FRONTEND = 22
    LB6_LOOKUP_FRONTEND_FAIL = 23
    LB6_LOOKUP_BACKEND_SLOT = 24
    LB6_LOOKUP_BACKEND_SLOT_SUCCESS = 25
    LB6_LOOKUP_BACKEND_SLOT_V2_FAIL = 26
    LB6_LOOKUP_BACKEND_FAIL = 27
    LB6_REVERSE_NAT_LOOKUP = 28
    LB6_REVERSE_NAT = 29
    LB4_LOOKUP_FRONTEND = 30
    LB4_LOOKUP_FRONTEND_FAIL = 31
    LB4_LOOKUP_BACKEND_SLOT = 32
    LB4_LOOKUP_BACKEND_SLOT_SUCCESS = 33
    LB4_LOOKUP_BACKEND_SLOT_V2_FAIL = 34
    LB4_LOOKUP_BACKEND_FAIL = 35
    LB4_REVERSE_NAT_LOOKUP = 36
    LB4_REVERSE_NAT = 37
    LB4_LOOPBACK_SNAT = 38
    LB4_LOOPBACK_SNAT_REV = 39
    CT_LOOKUP4 = 40
    RR_BACKEND_SLOT_SEL = 41
    REV_PROXY_LOOKUP = 42
    REV_PROXY_FOUND = 43
    REV_PROXY_UPDATE = 44
    L4_POLICY = 45
    NETDEV_IN_CLUSTER = 46
    NETDEV_ENCAP4 = 47
    CT_LOOKUP4_1 = 48
    CT_LOOKUP4_2 = 49
    CT_CREATED4 = 50
    CT_LOOKUP6_1 = 51
    CT_LOOKUP6_2 = 52
    CT_CREATED6 = 53
    SKIP_PROXY = 54
    L4_CREATE = 55
    IPID_MAP_FAILED4 = 56
    IPID_MAP_FAILED6 = 57
    IPID_MAP_SUCCEED4 = 58
    IPID_MAP_SUCCEED6 = 59
    LB_STALE_CT = 60
    INHERIT_IDENTITY = 61
    SK_LOOKUP4 = 62
    SK_LOOKUP6 = 63
    SK_ASSIGN = 64
    L7_LB = 65
    LB6_LOOKUP_MASTER = 22
    LB6_LOOKUP_MASTER_FAIL = 23
    LB4_LOOKUP_MASTER = 30
    LB4_LOOKUP_MASTER_FAIL = 31


class ConntrackState(IntEnum):
    """What connection tracking knew of a packet."""

    NEW = 0
    ESTABLISHED = 1
    REPLY = 2
    RELATED = 3


DEBUG_TEXTS: Mapping[int, str] = {
    DebugType.GENERIC: "No message, arg1={a1} ({a1:#x}) arg2={a2} ({a2:#x})",
    DebugType.LOCAL_DELIVERY: "Attempting local delivery for container id {a1} from seclabel {a2}",
    DebugType.ENCAP: "Encapsulating to node {a1} ({a1:#x}) from seclabel {a2}",
    DebugType.LXC_FOUND: "Local container found ifindex {link} seclabel {n2}",
    DebugType.POLICY_DENIED: "Policy evaluation would deny packet from {a1} to {a2}",
    DebugType.CT_LOOKUP: "CT lookup: {tuple}",
    DebugType.CT_LOOKUP_REV: "CT reverse lookup: {tuple}",
    DebugType.CT_MATCH: "CT entry found lifetime={a1}, revnat={n2}",
    DebugType.CT_CREATED: "CT created 1/2: {tuple} revnat={n3}",
    DebugType.CT_CREATED2: "CT created 2/2: {ip1} revnat={n2}",
    DebugType.ICMP6_HANDLE: "Handling ICMPv6 type={a1}",
    DebugType.ICMP6_REQUEST: "ICMPv6 echo request for router offset={a1}",
    DebugType.ICMP6_NS: "ICMPv6 neighbour soliciation for address {a1:x}:{a2:x}",
    DebugType.ICMP6_TIME_EXCEEDED: "Sending ICMPv6 time exceeded",
    DebugType.CT_VERDICT: "CT verdict: {state}, revnat={n2}",
    DebugType.DECAP: "Tunnel decap: id={a1} flowlabel={a2:x}",
    DebugType.PORT_MAP: "Mapping port from={a1} to={a2}",
    DebugType.ERROR_RET: "BPF function {a1} returned error {a2}",
    DebugType.TO_HOST: "Going to host, policy-skip={a1}",
    DebugType.TO_STACK: "Going to the stack, policy-skip={a1}",
    DebugType.PKT_HASH: "Packet hash={a1} ({a1:#x}), selected_service={a2}",
    DebugType.LB6_LOOKUP_FRONTEND: "Frontend service lookup, addr.p4={a1:x} key.dport={n2}",
    DebugType.LB6_LOOKUP_FRONTEND_FAIL: (
        "Frontend service lookup failed, addr.p2={a1:x} addr.p3={a2:x}"
    ),
    DebugType.LB6_LOOKUP_BACKEND_SLOT: "Service backend slot lookup: slot={a1}, dport={n2}",
    DebugType.LB6_LOOKUP_BACKEND_SLOT_SUCCESS: (
        "Service backend slot lookup result: target.p4={a1:x} port={n2}"
    ),
    DebugType.LB6_LOOKUP_BACKEND_SLOT_V2_FAIL: (
        "Service backend slot lookup failed: slot={a1}, dport={n2}"
    ),
    DebugType.LB6_LOOKUP_BACKEND_FAIL: "Backend service lookup failed: backend_id={a1}",
    DebugType.LB6_REVERSE_NAT_LOOKUP: "Reverse NAT lookup, index={n1}",
    DebugType.LB6_REVERSE_NAT: "Performing reverse NAT, address.p4={a1:x} port={n2}",
    DebugType.LB4_LOOKUP_FRONTEND: "Frontend service lookup, addr={ip1} key.dport={n2}",
    DebugType.LB4_LOOKUP_FRONTEND_FAIL: "Frontend service lookup failed",
    DebugType.LB4_LOOKUP_BACKEND_SLOT: "Service backend slot lookup: slot={a1}, dport={n2}",
    DebugType.LB4_LOOKUP_BACKEND_SLOT_SUCCESS: (
        "Service backend slot lookup result: target={ip1} port={n2}"
    ),
    DebugType.LB4_LOOKUP_BACKEND_SLOT_V2_FAIL: (
        "Service backend slot lookup failed: slot={a1}, dport={n2}"
    ),
    DebugType.LB4_LOOKUP_BACKEND_FAIL: "Backend service lookup failed: backend_id={a1}",
    DebugType.LB4_REVERSE_NAT_LOOKUP: "Reverse NAT lookup, index={n1}",
    DebugType.LB4_REVERSE_NAT: "Performing reverse NAT, address={ip1} port={n2}",
    DebugType.LB4_LOOPBACK_SNAT: "Loopback SNAT from={ip1} to={ip2}",
    DebugType.LB4_LOOPBACK_SNAT_REV: "Loopback reverse SNAT from={ip1} to={ip2}",
    DebugType.CT_LOOKUP4: "CT lookup address: {ip1}",
    DebugType.RR_BACKEND_SLOT_SEL: (
        "RR backend slot selection hash={a1} ({a1:#x}), selected_service={a2}"
    ),
    DebugType.REV_PROXY_LOOKUP: "Reverse proxy lookup {proxied} nexthdr={a3}",
    DebugType.REV_PROXY_FOUND: "Reverse proxy entry found, orig-daddr={ip1} orig-dport={a2}",
    DebugType.REV_PROXY_UPDATE: "Reverse proxy updated {proxied} nexthdr={a3}",
    DebugType.L4_POLICY: "Resolved L4 policy to: {n1} / {direction}",
    DebugType.NETDEV_IN_CLUSTER: "Destination is inside cluster prefix, source identity: {a1}",
    DebugType.NETDEV_ENCAP4: "Attempting encapsulation, lookup key: {ip1}, identity: {a2}",
    DebugType.CT_LOOKUP4_1: "Conntrack lookup 1/2: {pair4}",
    DebugType.CT_LOOKUP4_2: (
        "Conntrack lookup 2/2: nexthdr={next_header} flags={low1} dir={a2} scope={a3}"
    ),
    DebugType.CT_CREATED4: (
        "Conntrack create: proxy-port={high1} revnat={n1} src-identity={a2} lb={ip3}"
    ),
    DebugType.CT_LOOKUP6_1: "Conntrack lookup 1/2: {pair6}",
    DebugType.CT_LOOKUP6_2: (
        "Conntrack lookup 2/2: nexthdr={next_header} flags={low1} dir={a2} scope={a3}"
    ),
    DebugType.CT_CREATED6: "Conntrack create: proxy-port={high1} revnat={n1} src-identity={a2}",
    DebugType.SKIP_PROXY: "Skipping proxy, tc_index is set={a1:x}",
    DebugType.L4_CREATE: (
        "Matched L4 policy; creating conntrack src={a1} dst={a2} dport={dport3} proto={low3}"
    ),
    DebugType.IPID_MAP_FAILED4: "Failed to map addr={ip1} to identity",
    DebugType.IPID_MAP_FAILED6: "Failed to map addr.p4=[::{six1}] to identity",
    DebugType.IPID_MAP_SUCCEED4: "Successfully mapped addr={ip1} to identity={a2}",
    DebugType.IPID_MAP_SUCCEED6: "Successfully mapped addr.p4=[::{six1}] to identity={a2}",
    DebugType.LB_STALE_CT: "Stale CT entry found stale_ct.rev_nat_id={a2}, svc.rev_nat_id={a1}",
    DebugType.INHERIT_IDENTITY: "Inheriting identity={a1} from stack",
    DebugType.SK_LOOKUP4: "Socket lookup: {pair4}",
    DebugType.SK_LOOKUP6: "Socket lookup: {pair6}",
    DebugType.SK_ASSIGN: "Socket assign: {assigned}",
    DebugType.L7_LB: "L7 LB from {ip1} to {ip2}: proxy port {a3}",
}

_CONNTRACK_LOOKUP_1_9 = "Conntrack lookup 2/2: nexthdr={next_header} flags={low1}"

DEBUG_TEXTS_1_9: Mapping[int, str] = {
    number: text.replace("Frontend", "Master")
    for number, text in DEBUG_TEXTS.items()
    if number < 65
} | {
    DebugType.CT_LOOKUP4_2: _CONNTRACK_LOOKUP_1_9,
    DebugType.CT_LOOKUP6_2: _CONNTRACK_LOOKUP_1_9,
}
