"""Policy verdicts: what a policy said about the first packet of a connection."""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from trireme_datapath.monitor._captured import captured_layers, captured_summary
from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._go_text import encode_verbose
from trireme_datapath.monitor.display import PLAIN_DISPLAY, Display, Level
from trireme_datapath.monitor.dissection import (
    DissectSummary,  # noqa: TC001  msgspec reads the annotation at run time
)
from trireme_datapath.monitor.tables.verdicts import auth_type_name, get_policy_action_string

__all__ = [
    "POLICY_EGRESS",
    "POLICY_INGRESS",
    "POLICY_VERDICT_NOTIFY_FLAG_DIRECTION",
    "POLICY_VERDICT_NOTIFY_FLAG_IS_AUDITED",
    "POLICY_VERDICT_NOTIFY_FLAG_IS_IPV6",
    "POLICY_VERDICT_NOTIFY_FLAG_MATCH_TYPE",
    "POLICY_VERDICT_NOTIFY_FLAG_MATCH_TYPE_BIT_OFFSET",
    "POLICY_VERDICT_NOTIFY_LEN",
    "PolicyVerdictNotify",
    "PolicyVerdictNotifyVerbose",
    "decode_policy_verdict_notify",
]

# type, subtype, endpoint, hash, length, captured, version, identity, verdict, port, protocol,
# flags, authentication and padding
_LAYOUT: Final = struct.Struct("<BBHIIHHIiHBBBBH")

POLICY_VERDICT_NOTIFY_LEN: Final = _LAYOUT.size
POLICY_VERDICT_NOTIFY_FLAG_DIRECTION: Final = 0x3
POLICY_VERDICT_NOTIFY_FLAG_IS_IPV6: Final = 0x4
POLICY_VERDICT_NOTIFY_FLAG_MATCH_TYPE: Final = 0x38
POLICY_VERDICT_NOTIFY_FLAG_MATCH_TYPE_BIT_OFFSET: Final = 3
POLICY_VERDICT_NOTIFY_FLAG_IS_AUDITED: Final = 0x40
POLICY_INGRESS: Final = 1
POLICY_EGRESS: Final = 2


class PolicyVerdictNotify(Struct, frozen=True, kw_only=True, gc=False):
    """What a policy said.

    Attributes:
        type: 5.
        sub_type: 0.
        source: The endpoint whose policy it is.
        hash: The hash of the packet.
        orig_len: The length of the packet.
        cap_len: How much of it was captured.
        version: The version of the message.
        remote_label: The security identity of the other side.
        verdict: Below zero the drop reason, above zero the proxy port, zero lets it pass.
        dst_port: The destination port.
        proto: The IP protocol.
        flags: Direction, IPv6, match type, audit.
        auth_type: How the connection has to authenticate.
        pad1: Padding.
        pad2: Padding.
    """

    type: int = 0
    sub_type: int = 0
    source: int = 0
    hash: int = 0
    orig_len: int = 0
    cap_len: int = 0
    version: int = 0
    remote_label: int = 0
    verdict: int = 0
    dst_port: int = 0
    proto: int = 0
    flags: int = 0
    auth_type: int = 0
    pad1: int = 0
    pad2: int = 0

    def endpoints(self) -> tuple[int, int]:
        """Give what filters compare: the endpoint, and half of an identity."""
        return self.source, self.remote_label & 0xFFFF

    def show(self, level: Level, data: bytes, prefix: str, display: Display) -> str:
        """Give the form of a level: the same for all, unless there is to be JSON."""
        if display.fixed and level is Level.JSON:
            return self.dump_json(data, prefix, display)
        return self.dump_info(data, display)

    def is_traffic_ingress(self) -> bool:
        """Tell whether the connection comes in."""
        return self.flags & POLICY_VERDICT_NOTIFY_FLAG_DIRECTION == POLICY_INGRESS

    def is_traffic_ipv6(self) -> bool:
        """Tell whether the connection is IPv6."""
        return bool(self.flags & POLICY_VERDICT_NOTIFY_FLAG_IS_IPV6)

    def is_traffic_audited(self) -> bool:
        """Tell whether it only passed because policies are being tried out."""
        return bool(self.flags & POLICY_VERDICT_NOTIFY_FLAG_IS_AUDITED)

    def policy_match_type(self) -> int:
        """Tell which part of a policy matched, a `PolicyMatchType` if it is a known one."""
        return (
            self.flags & POLICY_VERDICT_NOTIFY_FLAG_MATCH_TYPE
        ) >> POLICY_VERDICT_NOTIFY_FLAG_MATCH_TYPE_BIT_OFFSET

    def direction(self, display: Display = PLAIN_DISPLAY) -> str:
        """Name the direction; what is not ingress is egress."""
        if self.is_traffic_ingress():
            return "ingress"
        known = self.flags & POLICY_VERDICT_NOTIFY_FLAG_DIRECTION == POLICY_EGRESS
        return "egress" if known or not display.fixed else "unknown"

    def action(self) -> str:
        """Say what the verdict does."""
        return get_policy_action_string(self.verdict, self.is_traffic_audited())

    def dump_info(self, data: bytes, display: Display = PLAIN_DISPLAY) -> str:
        """Give the line, which is the same in all forms."""
        profile = display.profile
        authentication = ""
        if profile.has_authentication:
            authentication = f"auth: {auth_type_name(self.auth_type)}, "
        match = profile.match_types.get(self.policy_match_type(), "unknown")
        return (
            f"Policy verdict log: flow {self.hash:#x} local EP ID {self.source}, "
            f"remote ID {display.identity(self.remote_label)}, proto {self.proto}, "
            f"{self.direction(display)}, action {self.action()}, {authentication}"
            f"match {match}, {captured_summary(data[POLICY_VERDICT_NOTIFY_LEN:], display)}\n"
        )

    def dump_json(self, data: bytes, cpu_prefix: str, display: Display = PLAIN_DISPLAY) -> str:
        """Give a JSON form, which Cilium has none of."""
        return encode_verbose(
            PolicyVerdictNotifyVerbose(
                cpu_prefix=cpu_prefix,
                mark=f"{self.hash:#x}",
                source=self.source,
                bytes=self.orig_len,
                remote_label=self.remote_label,
                verdict=self.verdict,
                action=self.action(),
                direction=self.direction(display),
                match=display.profile.match_types.get(self.policy_match_type(), "unknown"),
                auth=auth_type_name(self.auth_type),
                proto=self.proto,
                dst_port=self.dst_port,
                ipv6=self.is_traffic_ipv6(),
                summary=captured_layers(data[POLICY_VERDICT_NOTIFY_LEN:], display),
            )
        )


class PolicyVerdictNotifyVerbose(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"cpu_prefix": "cpu", "remote_label": "remoteLabel", "dst_port": "dstPort"},
):
    """The JSON form of a policy verdict, in the order of its keys."""

    cpu_prefix: str
    type: str = "policy-verdict"
    mark: str
    source: int
    bytes: int
    remote_label: int
    verdict: int
    action: str
    direction: str
    match: str
    auth: str
    proto: int
    dst_port: int
    ipv6: bool
    summary: DissectSummary


def decode_policy_verdict_notify(data: bytes) -> PolicyVerdictNotify:
    """Read a policy verdict.

    Raises:
        MessageError: It is too short.
    """
    if len(data) < POLICY_VERDICT_NOTIFY_LEN:
        raise MessageError(
            "unexpected PolicyVerdictNotify data length, "
            f"expected {POLICY_VERDICT_NOTIFY_LEN} but got {len(data)}"
        )
    (
        kind,
        sub_type,
        source,
        packet_hash,
        orig_len,
        cap_len,
        version,
        remote_label,
        verdict,
        dst_port,
        proto,
        flags,
        auth_type,
        pad1,
        pad2,
    ) = _LAYOUT.unpack_from(data)
    return PolicyVerdictNotify(
        type=kind,
        sub_type=sub_type,
        source=source,
        hash=packet_hash,
        orig_len=orig_len,
        cap_len=cap_len,
        version=version,
        remote_label=remote_label,
        verdict=verdict,
        dst_port=dst_port,
        proto=proto,
        flags=flags,
        auth_type=auth_type,
        pad1=pad1,
        pad2=pad2,
    )
