"""Let scapy craft the datagrams that we read, and read the datagrams that we accept."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers import inet, inet6, ipsec, sctp
from scapy.packet import Packet as Layer
from scapy.packet import Raw

from trireme_datapath.packet import Packet, decode, decode_embedded

_DATA = Path(__file__).parents[1] / "data" / "packets.toml"
_GOLDEN = tomllib.loads(_DATA.read_text(encoding="utf-8"))
_SEEDS = [bytes.fromhex(entry["hex"]) for entry in _GOLDEN["packet"]]

_BYTE = st.integers(min_value=0, max_value=0xFF)
_WORD = st.integers(min_value=0, max_value=0xFFFF)
_LONG = st.integers(min_value=0, max_value=0xFFFFFFFF)
_ADDRESS = {
    4: st.binary(min_size=4, max_size=4),
    6: st.binary(min_size=16, max_size=16),
}
_PAYLOAD = st.binary(max_size=64)

_TCP_OPTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("MSS"), _WORD),
        st.just(("NOP", None)),
        st.just(("SAckOK", b"")),
        st.tuples(st.just("WScale"), _BYTE),
        st.tuples(st.just("Timestamp"), st.tuples(_LONG, _LONG)),
    ),
    max_size=3,
)

_SOURCE_ROUTES = (inet.IPOption_LSRR, inet.IPOption_SSRR)
_IPV4_OPTIONS = st.lists(
    st.sampled_from(
        (
            inet.IPOption_NOP(),
            inet.IPOption_Router_Alert(),
            inet.IPOption_Timestamp(),
            inet.IPOption_RR(routers=["192.0.2.9"]),
            inet.IPOption_LSRR(routers=["192.0.2.9"]),
            inet.IPOption_SSRR(routers=["192.0.2.9"]),
        )
    ),
    max_size=4,
)

# Passed by the chain or ending it, or with a transport reader of their own.
_KNOWN = {0, 1, 6, 17, 43, 44, 51, 58, 60, 132, 136}
_UNKNOWN = st.sampled_from(sorted(set(range(256)) - _KNOWN))


_EXTENSION_NUMBERS = {
    inet6.IPv6ExtHdrHopByHop: 0,
    inet6.IPv6ExtHdrRouting: 43,
    inet6.IPv6ExtHdrSegmentRouting: 43,
    inet6.IPv6ExtHdrFragment: 44,
    ipsec.AH: 51,
    inet6.IPv6ExtHdrDestOpt: 60,
}

# scapy leaves what follows an authentication header unread.
_AFTER_AUTHENTICATION = {
    43: inet6.IPv6ExtHdrRouting,
    44: inet6.IPv6ExtHdrFragment,
    51: ipsec.AH,
    60: inet6.IPv6ExtHdrDestOpt,
}


@dataclass(frozen=True)
class _Transport:
    """A transport header as scapy makes it, and what the decoder must say of it."""

    layer: Layer
    protocol: int
    header_bytes: int
    fields: dict[str, Any]


@st.composite
def _tcp(draw: st.DrawFn) -> _Transport:
    source, destination, sequence, acknowledgment = (
        draw(_WORD),
        draw(_WORD),
        draw(_LONG),
        draw(_LONG),
    )
    flags = draw(st.integers(min_value=0, max_value=0x1FF))
    layer = inet.TCP(
        sport=source,
        dport=destination,
        seq=sequence,
        ack=acknowledgment,
        flags=flags,
        options=draw(_TCP_OPTIONS),
    )
    fields = {
        "source_port": source,
        "destination_port": destination,
        "tcp_flags": flags & 0xFF,
        "tcp_sequence": sequence,
        "tcp_acknowledgment": acknowledgment,
    }
    return _Transport(layer, 6, len(bytes(layer)), fields)


@st.composite
def _udp(draw: st.DrawFn) -> _Transport:
    source, destination = draw(_WORD), draw(_WORD)
    fields = {"source_port": source, "destination_port": destination}
    return _Transport(inet.UDP(sport=source, dport=destination), 17, 8, fields)


@st.composite
def _udplite(draw: st.DrawFn) -> _Transport:
    # scapy has no UDP-Lite: the header is the one of UDP with the coverage for the length.
    source, destination = draw(_WORD), draw(_WORD)
    layer = inet.UDP(sport=source, dport=destination, len=draw(st.sampled_from((0, 8))))
    fields = {"source_port": source, "destination_port": destination}
    return _Transport(layer, 136, 8, fields)


@st.composite
def _sctp(draw: st.DrawFn) -> _Transport:
    source, destination, tag = draw(_WORD), draw(_WORD), draw(_LONG)
    chunk = draw(
        st.sampled_from(
            (
                sctp.SCTPChunkData(data=b"abcd"),
                sctp.SCTPChunkInit(),
                sctp.SCTPChunkSACK(),
                sctp.SCTPChunkHeartbeatReq(),
                sctp.SCTPChunkAbort(),
                sctp.SCTPChunkShutdown(),
                sctp.SCTPChunkCookieAck(),
            )
        )
    )
    fields = {
        "source_port": source,
        "destination_port": destination,
        "sctp_verification_tag": tag,
        "sctp_chunk_type": chunk.type,
    }
    return _Transport(sctp.SCTP(sport=source, dport=destination, tag=tag) / chunk, 132, 12, fields)


@st.composite
def _icmp(draw: st.DrawFn) -> _Transport:
    kind = draw(st.sampled_from((0, 8, 13, 14, 15, 16, 17, 18)))
    code, identifier = draw(_BYTE), draw(_WORD)
    fields = {"icmp_type": kind, "icmp_code": code, "icmp_identifier": identifier}
    return _Transport(inet.ICMP(type=kind, code=code, id=identifier), 1, 8, fields)


@st.composite
def _icmpv6(draw: st.DrawFn) -> _Transport:
    make = draw(st.sampled_from((inet6.ICMPv6EchoRequest, inet6.ICMPv6EchoReply)))
    code, identifier = draw(_BYTE), draw(_WORD)
    layer = make(code=code, id=identifier)
    fields = {"icmp_type": layer.type, "icmp_code": code, "icmp_identifier": identifier}
    return _Transport(layer, 58, 8, fields)


@st.composite
def _other(draw: st.DrawFn) -> _Transport:
    return _Transport(Raw(draw(_PAYLOAD)), draw(_UNKNOWN), 0, {})


_SHARED = _tcp() | _udp() | _udplite() | _sctp() | _other()
_TRANSPORT = {4: _SHARED | _icmp(), 6: _SHARED | _icmpv6()}


@dataclass(frozen=True)
class _Crafted:
    """A datagram made by scapy, and the packet it must be read as."""

    data: bytes
    packet: Packet


def _text(address: bytes) -> str:
    return str(ip_address(address))


def _crafted(
    network: Layer, transport: _Transport, payload: bytes, fields: dict[str, Any]
) -> _Crafted:
    """Put the layers together; offsets follow from the lengths of the parts."""
    data = bytes(network / transport.layer / Raw(payload))
    behind = len(bytes(transport.layer)) + len(payload)
    start = len(data) - behind
    packet = Packet(
        protocol=transport.protocol,
        size_bytes=len(data),
        header_length_bytes=start,
        payload_offset=start + transport.header_bytes,
        **fields,
        **transport.fields,
    )
    return _Crafted(data, packet)


@st.composite
def _ipv4(draw: st.DrawFn) -> _Crafted:
    transport = draw(_TRANSPORT[4])
    source, destination = draw(_ADDRESS[4]), draw(_ADDRESS[4])
    hop_limit, identification, options = draw(_BYTE), draw(_WORD), draw(_IPV4_OPTIONS)
    if any(isinstance(option, inet.IPOption_Timestamp) for option in options):
        options = options[:2]  # no more than 40 bytes
    network = inet.IP(
        src=_text(source),
        dst=_text(destination),
        ttl=hop_limit,
        id=identification,
        tos=draw(_BYTE),
        flags=draw(st.sampled_from(("", "DF"))),
        options=options,
        proto=transport.protocol,
    )
    fields = {
        "version": 4,
        "source": source,
        "destination": destination,
        "hop_limit": hop_limit,
        "identification": identification,
        "source_routed": any(isinstance(option, _SOURCE_ROUTES) for option in options),
    }
    return _crafted(network, transport, draw(_PAYLOAD), fields)


@st.composite
def _options(draw: st.DrawFn) -> list[Any]:
    return draw(
        st.lists(
            st.sampled_from(
                (
                    inet6.PadN(optdata=b"\0\0\0"),
                    inet6.Pad1(),
                    inet6.RouterAlert(),
                    inet6.HAO(),
                    inet6.HBHOptUnknown(otype=0x1E, optdata=b"abcdefghi"),
                )
            ),
            max_size=3,
        )
    )


@st.composite
def _extensions(draw: st.DrawFn) -> tuple[list[Any], dict[str, Any]]:
    """Draw extension headers, and what they make of the packet."""
    layers = []
    fields = {"identification": 0, "source_routed": False}
    if draw(st.booleans()):
        layers.append(inet6.IPv6ExtHdrHopByHop(options=draw(_options())))
    kinds = draw(st.lists(st.sampled_from(("options", "route", "segments", "ah")), max_size=5))
    if draw(st.booleans()):
        kinds.insert(draw(st.integers(min_value=0, max_value=len(kinds))), "atomic")
    for kind in kinds:
        if kind == "options":
            layers.append(inet6.IPv6ExtHdrDestOpt(options=draw(_options())))
        elif kind == "atomic":
            fields["identification"] = draw(_LONG)
            layers.append(inet6.IPv6ExtHdrFragment(id=fields["identification"]))
        elif kind == "ah":
            icv = bytes(draw(st.sampled_from((12, 20))))
            layers.append(ipsec.AH(spi=draw(_LONG), seq=1, icv=icv, payloadlen=1 + len(icv) // 4))
        else:
            make = inet6.IPv6ExtHdrRouting if kind == "route" else inet6.IPv6ExtHdrSegmentRouting
            left = draw(st.integers(min_value=0, max_value=2))
            layers.append(make(addresses=["2001:db8::9", "2001:db8::a"], segleft=left))
            fields["source_routed"] = fields["source_routed"] or left > 0
    return layers, fields


@st.composite
def _ipv6(draw: st.DrawFn) -> _Crafted:
    transport = draw(_TRANSPORT[6])
    source, destination, hop_limit = draw(_ADDRESS[6]), draw(_ADDRESS[6]), draw(_BYTE)
    extensions, fields = draw(_extensions())
    layers = [
        inet6.IPv6(
            src=_text(source),
            dst=_text(destination),
            hlim=hop_limit,
            tc=draw(_BYTE),
            fl=draw(st.integers(min_value=0, max_value=0xFFFFF)),
        ),
        *(layer.copy() for layer in extensions),
    ]
    # scapy does not know what may follow an authentication header, nor UDP-Lite.
    following = [_EXTENSION_NUMBERS[type(layer)] for layer in extensions]
    network = None
    for layer, number in zip(layers, [*following, transport.protocol], strict=True):
        layer.nh = number
        network = layer if network is None else network / layer
    fields |= {"version": 6, "source": source, "destination": destination, "hop_limit": hop_limit}
    return _crafted(network, transport, draw(_PAYLOAD), fields)


@given(crafted=_ipv4())
def test_ipv4_made_by_scapy(crafted: _Crafted) -> None:
    assert decode(crafted.data) == crafted.packet


@given(crafted=_ipv6())
def test_ipv6_made_by_scapy(crafted: _Crafted) -> None:
    assert decode(crafted.data) == crafted.packet


@given(crafted=_ipv4() | _ipv6(), kept=st.integers(min_value=0, max_value=128))
def test_a_capture_of_the_head_is_enough(crafted: _Crafted, kept: int) -> None:
    packet = crafted.packet
    result = decode(crafted.data[:kept], original_length=len(crafted.data))
    if kept >= packet.payload_offset + (4 if packet.protocol == 132 else 0):
        assert result == packet


@given(
    source=_ADDRESS[4],
    destination=_ADDRESS[4],
    size=st.integers(min_value=60, max_value=400),
    fragment_size=st.integers(min_value=24, max_value=200),
    identification=_WORD,
)
def test_ipv4_fragments_made_by_scapy(
    source: bytes, destination: bytes, size: int, fragment_size: int, identification: int
) -> None:
    network = inet.IP(src=_text(source), dst=_text(destination), id=identification, ttl=9)
    datagram = network / inet.UDP(sport=7, dport=8) / Raw(bytes(size))
    fragments = inet.fragment(datagram, fragsize=fragment_size)
    for number, piece in enumerate(fragments):
        data = bytes(piece)
        assert decode(data) == Packet(
            version=4,
            source=source,
            destination=destination,
            protocol=17,
            size_bytes=len(data),
            hop_limit=9,
            header_length_bytes=20,
            payload_offset=20 if number else 28,
            identification=identification,
            fragment_offset_bytes=piece.frag * 8,
            more_fragments=number < len(fragments) - 1,
            source_port=0 if number else 7,
            destination_port=0 if number else 8,
        )


@given(
    source=_ADDRESS[6],
    destination=_ADDRESS[6],
    size=st.integers(min_value=400, max_value=900),
    fragment_size=st.integers(min_value=100, max_value=300),
    identification=_LONG,
)
def test_ipv6_fragments_made_by_scapy(
    source: bytes, destination: bytes, size: int, fragment_size: int, identification: int
) -> None:
    datagram = (
        inet6.IPv6(src=_text(source), dst=_text(destination), hlim=9)
        / inet6.IPv6ExtHdrFragment(id=identification)
        / inet.UDP(sport=7, dport=8)
        / Raw(bytes(size))
    )
    fragments = inet6.fragment6(datagram, fragment_size)
    assert len(fragments) > 1
    for number, piece in enumerate(fragments):
        data = bytes(piece)
        assert decode(data) == Packet(
            version=6,
            source=source,
            destination=destination,
            protocol=17,
            size_bytes=len(data),
            hop_limit=9,
            header_length_bytes=48,
            payload_offset=48 if number else 56,
            identification=identification,
            fragment_offset_bytes=piece[inet6.IPv6ExtHdrFragment].offset * 8,
            more_fragments=number < len(fragments) - 1,
            source_port=0 if number else 7,
            destination_port=0 if number else 8,
        )


@given(
    quoted=_ipv4(), kind=st.sampled_from((3, 4, 5, 11, 12)), code=_BYTE, kept=st.integers(8, 200)
)
def test_icmp_errors_made_by_scapy(quoted: _Crafted, kind: int, code: int, kept: int) -> None:
    _check_quote(
        inet.IP(src="192.0.2.1", dst="192.0.2.2") / inet.ICMP(type=kind, code=code), quoted, kept
    )


@given(
    quoted=_ipv6(),
    make=st.sampled_from(
        (
            inet6.ICMPv6DestUnreach,
            inet6.ICMPv6PacketTooBig,
            inet6.ICMPv6TimeExceeded,
            inet6.ICMPv6ParamProblem,
        )
    ),
    code=_BYTE,
    kept=st.integers(8, 200),
)
def test_icmpv6_errors_made_by_scapy(
    quoted: _Crafted, make: type[Layer], code: int, kept: int
) -> None:
    _check_quote(inet6.IPv6(src="2001:db8::1", dst="2001:db8::2") / make(code=code), quoted, kept)


def _check_quote(error: Layer, quoted: _Crafted, kept: int) -> None:
    """Check the flow of a quote that keeps ``kept`` bytes behind the network header."""
    data = quoted.data[: quoted.packet.header_length_bytes + kept]
    outer = decode(bytes(error / Raw(data)))
    assert isinstance(outer, Packet)
    assert outer.icmp_type == error.lastlayer().type
    assert outer.icmp_code == error.lastlayer().code
    assert outer.embedded == data
    inner = decode_embedded(outer)
    assert isinstance(inner, Packet)
    for name in (
        "version",
        "source",
        "destination",
        "protocol",
        "size_bytes",
        "hop_limit",
        "identification",
        "header_length_bytes",
        "source_port",
        "destination_port",
        "tcp_sequence",
        "icmp_type",
        "icmp_code",
        "icmp_identifier",
        "sctp_verification_tag",
        "source_routed",
    ):
        assert getattr(inner, name) == getattr(quoted.packet, name), name
    if quoted.packet.protocol == 6:
        assert inner.tcp_flags == (quoted.packet.tcp_flags if kept >= 20 else 0)


@st.composite
def _changed(draw: st.DrawFn) -> bytes:
    """Draw a sound datagram with a few bytes changed."""
    data = bytearray(draw(st.sampled_from(_SEEDS)))
    for _ in range(draw(st.integers(min_value=0, max_value=4))):
        data[draw(st.integers(min_value=0, max_value=len(data) - 1))] = draw(_BYTE)
    return bytes(data)


@given(data=_changed())
def test_what_we_accept_scapy_reads_alike(data: bytes) -> None:
    packet = decode(data)
    if isinstance(packet, Packet):
        seen = _seen_ipv4(data) if packet.version == 4 else _seen_ipv6(data)
        assert {name: getattr(packet, name) for name in seen} == seen


def _seen_ipv4(data: bytes) -> dict[str, Any]:
    network = inet.IP(data)
    return {
        "version": network.version,
        "source": ip_address(network.src).packed,
        "destination": ip_address(network.dst).packed,
        "protocol": network.proto,
        "size_bytes": network.len,
        "hop_limit": network.ttl,
        "identification": network.id,
        "fragment_offset_bytes": network.frag * 8,
        "more_fragments": bool(network.flags.MF),
        # Not source_routed: scapy takes an option for its kind without the copied flag, and some
        # for longer than they say.
        "header_length_bytes": network.ihl * 4,
        # scapy reads SCTP into fragments that are not the first.
    } | (_seen_transport(network.payload) if network.frag == 0 else {})


def _seen_ipv6(data: bytes) -> dict[str, Any]:
    network = inet6.IPv6(data)
    seen = {
        "version": network.version,
        "source": ip_address(network.src).packed,
        "destination": ip_address(network.dst).packed,
        "size_bytes": 40 + network.plen,
        "hop_limit": network.hlim,
        "identification": 0,
        "fragment_offset_bytes": 0,
        "more_fragments": False,
        "source_routed": False,
    }
    layer, behind = network, network.payload
    while isinstance(behind, (inet6._IPv6ExtHdr, ipsec.AH)):
        layer, behind = behind, behind.payload
        if isinstance(layer, ipsec.AH) and layer.nh in _AFTER_AUTHENTICATION:
            behind = _AFTER_AUTHENTICATION[layer.nh](bytes(behind))
        if isinstance(layer, inet6.IPv6ExtHdrFragment):
            seen["identification"] = layer.id
            seen["fragment_offset_bytes"] = layer.offset * 8
            seen["more_fragments"] = bool(layer.m)
        elif getattr(layer, "segleft", 0):
            seen["source_routed"] = True
    return seen | {"protocol": layer.nh} | _seen_transport(behind)


def _seen_transport(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, inet.TCP):
        return {
            "source_port": layer.sport,
            "destination_port": layer.dport,
            "tcp_flags": int(layer.flags) & 0xFF,
            "tcp_sequence": layer.seq,
            "tcp_acknowledgment": layer.ack,
        }
    if isinstance(layer, inet.UDP):
        return {"source_port": layer.sport, "destination_port": layer.dport}
    if isinstance(layer, sctp.SCTP):
        return {
            "source_port": layer.sport,
            "destination_port": layer.dport,
            "sctp_verification_tag": layer.tag,
        }
    if isinstance(layer, inet.ICMP):
        return {"icmp_type": layer.type, "icmp_code": layer.code}
    return {}
