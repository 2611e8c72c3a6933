from __future__ import annotations

import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trireme_datapath.packet import (
    MAX_EMBEDDED_BYTES,
    MAX_EXTENSION_BYTES,
    MAX_EXTENSION_HEADERS,
    Malformed,
    MalformedReason,
    Packet,
    decode,
    decode_embedded,
)

_TESTS = Path(__file__).parents[1]
_GOLDEN: dict[str, list[dict[str, Any]]] = tomllib.loads(
    (_TESTS / "data" / "packets.toml").read_text(encoding="utf-8")
)
_PACKETS = [pytest.param(entry, id=entry["name"]) for entry in _GOLDEN["packet"]]
_MALFORMED = [pytest.param(entry, id=entry["name"]) for entry in _GOLDEN["malformed"]]

_IPV6_ADDRESSES = ip_address("2001:db8::1").packed + ip_address("2001:db8::2").packed


def _packet(fields: dict[str, Any]) -> Packet:
    values = dict(fields)
    for name in ("source", "destination"):
        values[name] = ip_address(values[name]).packed
    if "embedded" in values:
        values["embedded"] = bytes.fromhex(values["embedded"])
    return Packet(**values)


def _ipv4(protocol: int, payload: bytes, *, fragment: int = 0) -> bytes:
    total = (20 + len(payload)).to_bytes(2, "big")
    return (
        b"\x45\x00"
        + total
        + b"\x00\x00"
        + fragment.to_bytes(2, "big")
        + bytes([64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2])
        + payload
    )


def _ipv6(following: int, payload: bytes) -> bytes:
    length = len(payload).to_bytes(2, "big")
    return b"\x60\x00\x00\x00" + length + bytes([following, 64]) + _IPV6_ADDRESSES + payload


@pytest.mark.parametrize("entry", _PACKETS)
def test_golden_packet(entry: dict[str, Any]) -> None:
    assert decode(bytes.fromhex(entry["hex"])) == _packet(entry["expect"])


@pytest.mark.parametrize("entry", _PACKETS)
def test_golden_quote(entry: dict[str, Any]) -> None:
    packet = decode(bytes.fromhex(entry["hex"]))
    assert isinstance(packet, Packet)
    quoted = decode_embedded(packet)
    assert quoted == (_packet(entry["quotes"]) if "quotes" in entry else None)


@pytest.mark.parametrize("entry", _MALFORMED)
def test_golden_malformed(entry: dict[str, Any]) -> None:
    data = bytes.fromhex(entry["hex"])
    result = decode(data, original_length=entry.get("original_length"))
    source, destination, protocol = entry.get("known", ("", "", -1))
    assert isinstance(result, Malformed)
    assert result.reason == entry["reason"]
    assert result.offset == entry.get("offset", 0)
    assert result.version == entry.get("version", 0)
    assert result.source_text == source
    assert result.destination_text == destination
    assert result.protocol == protocol


def test_every_reason_has_a_golden_datagram() -> None:
    assert {entry["reason"] for entry in _GOLDEN["malformed"]} == set(MalformedReason)


def test_every_reason_and_limit_is_in_the_reference() -> None:
    page = _TESTS.parent / "docs" / "reference" / "packet.md"
    text = page.read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `")]
    assert rows == [
        *(f"`{reason}`" for reason in MalformedReason),
        "`MAX_EXTENSION_HEADERS`",
        "`MAX_EXTENSION_BYTES`",
        "`MAX_EMBEDDED_BYTES`",
    ]
    assert f"| `MAX_EXTENSION_HEADERS` | {MAX_EXTENSION_HEADERS:,} |" in text
    assert f"| `MAX_EXTENSION_BYTES` | {MAX_EXTENSION_BYTES:,} |" in text
    assert f"| `MAX_EMBEDDED_BYTES` | {MAX_EMBEDDED_BYTES:,} |" in text


def test_texts_of_addresses() -> None:
    packet = decode(_ipv6(59, b""))
    assert isinstance(packet, Packet)
    assert (packet.source_text, packet.destination_text) == ("2001:db8::1", "2001:db8::2")
    packet = decode(_ipv4(47, b""))
    assert isinstance(packet, Packet)
    assert (packet.source_text, packet.destination_text) == ("192.0.2.1", "198.51.100.2")


def test_results_survive_the_wire_between_processes() -> None:
    packet = decode(_ipv4(17, b"\x00\x07\x00\x08\x00\x08\x00\x00"))
    data = msgspec.msgpack.encode(packet)
    assert msgspec.msgpack.decode(data, type=Packet) == packet


class TestCuts:
    def test_a_cut_payload_is_no_fault(self) -> None:
        whole = _ipv4(6, bytes.fromhex("c35001bb00000000000000005002000000000000") + bytes(1000))
        assert decode(whole[:40], original_length=len(whole)) == decode(whole)

    def test_cut_tcp_options_are_no_fault(self) -> None:
        whole = _ipv4(6, bytes.fromhex("c35001bb0000000000000000f002000000000000") + bytes(40))
        packet = decode(whole[:40], original_length=len(whole))
        assert packet == decode(whole)
        assert isinstance(packet, Packet)
        assert packet.payload_offset == 80

    def test_options_cut_anywhere(self) -> None:
        whole = b"\x4f\x00\x00\x3c" + _ipv4(47, b"")[4:] + b"\x01" * 40
        assert isinstance(decode(whole), Packet)
        for size in range(60):
            assert _reason(decode(whole[:size], original_length=60)) is MalformedReason.CUT

    def test_an_original_length_below_what_is_there_means_nothing(self) -> None:
        data = _ipv4(47, b"abcd")
        for length in (-1, 0, 3, len(data)):
            assert decode(data, original_length=length) == decode(data)

    def test_a_cut_quote_is_read_as_far_as_it_goes(self) -> None:
        inner = _ipv4(6, bytes.fromhex("c35001bb000000070000000050020000") + bytes(4))
        outer = _ipv4(1, bytes.fromhex("0b00000000000000") + inner)
        packet = decode(outer[: 28 + 20 + 8], original_length=len(outer))
        assert isinstance(packet, Packet)
        quoted = decode_embedded(packet)
        assert isinstance(quoted, Packet)
        assert (quoted.source_port, quoted.destination_port) == (50000, 443)
        assert (quoted.tcp_sequence, quoted.tcp_flags) == (7, 0)
        packet = decode(outer[: 28 + 20 + 7], original_length=len(outer))
        assert isinstance(packet, Packet)
        assert _reason(decode_embedded(packet)) is MalformedReason.CUT
        packet = decode(outer[:28], original_length=len(outer))
        assert isinstance(packet, Packet)
        assert _reason(decode_embedded(packet)) is MalformedReason.CUT


def _reason(result: Packet | Malformed | None) -> MalformedReason | None:
    return result.reason if isinstance(result, Malformed) else None


class TestFragments:
    def test_an_atomic_fragment_is_whole(self) -> None:
        udp = bytes.fromhex("0007000800090000ff")
        packet = decode(_ipv6(44, bytes.fromhex("1100000000000063") + udp))
        assert isinstance(packet, Packet)
        assert not packet.is_fragment
        assert (packet.identification, packet.source_port) == (99, 7)

    def test_an_atomic_fragment_may_be_empty(self) -> None:
        packet = decode(_ipv6(44, bytes.fromhex("3b00000000000063")))
        assert isinstance(packet, Packet)
        assert (packet.protocol, packet.identification) == (59, 99)

    def test_a_first_fragment_has_whole_units_of_eight_bytes(self) -> None:
        head = bytes.fromhex("0007000800180000")
        assert isinstance(decode(_ipv4(17, head, fragment=0x2000)), Packet)
        assert _reason(decode(_ipv4(17, head + b"x", fragment=0x2000))) == "fragment-length"

    @pytest.mark.parametrize(
        ("fragment", "expected"), [(0x2000, True), (0x0003, True), (0x4000, False), (0, False)]
    )
    def test_is_fragment(self, fragment: int, *, expected: bool) -> None:
        packet = decode(
            _ipv4(6, bytes.fromhex("c35001bb" + "00" * 8 + "5002" + "00" * 10), fragment=fragment)
        )
        assert isinstance(packet, Packet)
        assert packet.is_fragment is expected

    def test_the_largest_datagram_fits(self) -> None:
        # 65,535 - 20 bytes of payload: the last fragment starts at 65,512 and has 3 bytes.
        packet = decode(_ipv4(17, b"abc", fragment=65512 >> 3))
        assert isinstance(packet, Packet)
        assert packet.fragment_offset_bytes == 65512
        assert _reason(decode(_ipv4(17, b"abcd", fragment=65512 >> 3))) == "fragment-overflow"

    def test_the_ipv6_limit_counts_headers_before_the_fragment_header(self) -> None:
        fragment = bytes.fromhex("1100ffe800000001")  # offset 65,512
        assert isinstance(decode(_ipv6(44, fragment + bytes(23))), Packet)
        assert _reason(decode(_ipv6(44, fragment + bytes(24)))) == "fragment-overflow"
        options = bytes.fromhex("2c00010400000000")
        assert isinstance(decode(_ipv6(60, options + fragment + bytes(15))), Packet)
        assert _reason(decode(_ipv6(60, options + fragment + bytes(16)))) == "fragment-overflow"

    def test_other_protocols_may_be_cut_at_offset_8(self) -> None:
        packet = decode(_ipv4(17, bytes(8), fragment=1))
        assert isinstance(packet, Packet)
        assert packet.fragment_offset_bytes == 8

    def test_a_fragment_behind_the_first_has_no_chain(self) -> None:
        # What follows is payload, whatever the next header field announces.
        packet = decode(_ipv6(44, bytes.fromhex("0000001000000001") + b"\xff"))
        assert isinstance(packet, Packet)
        assert (packet.protocol, packet.header_length_bytes) == (0, 48)


class TestIcmpErrors:
    def test_no_error_quotes_nothing(self) -> None:
        packet = decode(_ipv4(17, b"\x00\x07\x00\x08\x00\x08\x00\x00"))
        assert isinstance(packet, Packet)
        assert decode_embedded(packet) is None

    @pytest.mark.parametrize("icmp_type", range(256))
    def test_types_that_quote(self, icmp_type: int) -> None:
        message = bytes([icmp_type]) + bytes(7)
        four, six = decode(_ipv4(1, message)), decode(_ipv6(58, message))
        assert isinstance(four, Packet)
        assert isinstance(six, Packet)
        assert (four.embedded is not None) == (icmp_type in {3, 4, 5, 11, 12})
        assert (six.embedded is not None) == (icmp_type < 128)
        assert (four.icmp_type, six.icmp_type) == (icmp_type, icmp_type)

    def test_an_error_without_a_quote(self) -> None:
        packet = decode(_ipv4(1, b"\x03" + bytes(7)))
        assert isinstance(packet, Packet)
        assert _reason(decode_embedded(packet)) is MalformedReason.EMPTY

    def test_a_quote_of_the_other_version(self) -> None:
        packet = decode(_ipv4(1, b"\x03" + bytes(7) + _ipv6(59, b"")))
        assert isinstance(packet, Packet)
        assert _reason(decode_embedded(packet)) is MalformedReason.VERSION

    def test_a_quote_that_is_no_whole_header(self) -> None:
        packet = decode(_ipv4(1, b"\x03" + bytes(7) + _ipv4(17, b"")[:19]))
        assert isinstance(packet, Packet)
        assert _reason(decode_embedded(packet)) is MalformedReason.TRUNCATED

    def test_errors_in_errors_end_there(self) -> None:
        inner = _ipv4(1, b"\x03" + bytes(7) + _ipv4(17, bytes(8)))
        packet = decode(_ipv4(1, b"\x03" + bytes(7) + inner))
        assert isinstance(packet, Packet)
        quoted = decode_embedded(packet)
        assert isinstance(quoted, Packet)
        assert quoted.icmp_type == 3
        assert decode_embedded(quoted) is None

    def test_a_quote_is_bounded(self) -> None:
        packet = decode(_ipv4(1, b"\x03" + bytes(7) + bytes(60000)))
        assert isinstance(packet, Packet)
        assert packet.embedded == bytes(MAX_EMBEDDED_BYTES)

    def test_a_stated_length_ends_the_quote_before_the_extensions(self) -> None:
        # RFC 4884 sections 4.1 and 4.3: 32 words of 4 bytes, 16 words of 8 bytes.
        quote, extensions = b"q" * 128, b"x" * 12
        four = decode(_ipv4(1, bytes([3, 0, 0, 0, 0, 32, 0, 0]) + quote + extensions))
        six = decode(_ipv6(58, bytes([1, 0, 0, 0, 16, 0, 0, 0]) + quote + extensions))
        assert isinstance(four, Packet)
        assert isinstance(six, Packet)
        assert four.embedded == six.embedded == quote

    def test_types_of_the_other_version_are_no_errors(self) -> None:
        four, six = decode(_ipv4(58, b"\x01" + bytes(7))), decode(_ipv6(1, b"\x03" + bytes(7)))
        assert isinstance(four, Packet)
        assert isinstance(six, Packet)
        assert (four.icmp_type, six.icmp_type) == (-1, -1)
        assert (four.embedded, six.embedded) == (None, None)


class TestHeads:
    @pytest.mark.parametrize("icmp_type", range(256))
    def test_icmp_types_with_an_identifier(self, icmp_type: int) -> None:
        message = bytes([icmp_type, 0, 0, 0, 0x12, 0x34, 0, 0])
        four, six = decode(_ipv4(1, message)), decode(_ipv6(58, message))
        assert isinstance(four, Packet)
        assert isinstance(six, Packet)
        queries = {0, 8, 13, 14, 15, 16, 17, 18, 42, 43}
        assert four.icmp_identifier == (0x1234 if icmp_type in queries else -1)
        assert six.icmp_identifier == (0x1234 if icmp_type in {128, 129, 160, 161} else -1)

    @pytest.mark.parametrize("coverage", range(12))
    def test_udplite_coverage(self, coverage: int) -> None:
        message = b"\x00\x07\x00\x08" + bytes([0, coverage, 0, 0]) + b"xy"
        sound = isinstance(decode(_ipv4(136, message)), Packet)
        assert sound == (coverage in {0, 8, 9, 10})


class TestBounds:
    """The cost is bounded by structure: what exceeds a limit is refused by that limit."""

    def test_the_longest_chain_that_is_read(self) -> None:
        option = bytes([60, 0, 1, 4, 0, 0, 0, 0])
        chain = option * (MAX_EXTENSION_HEADERS - 1) + b"\x3b" + option[1:]
        packet = decode(_ipv6(60, chain))
        assert isinstance(packet, Packet)
        assert packet.header_length_bytes == 40 + 8 * MAX_EXTENSION_HEADERS

    def test_the_largest_chain_that_is_read(self) -> None:
        packet = decode(_ipv6(60, bytes([59, 127]) + bytes(1022)))
        assert isinstance(packet, Packet)
        assert packet.header_length_bytes == 40 + MAX_EXTENSION_BYTES

    def test_64_kib_of_small_extension_headers(self) -> None:
        data = _ipv6(60, bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 8191)
        result = decode(data)
        assert _reason(result) is MalformedReason.EXTENSION_COUNT
        assert isinstance(result, Malformed)
        assert result.offset == 40 + 8 * MAX_EXTENSION_HEADERS

    def test_64_kib_of_large_extension_headers(self) -> None:
        data = _ipv6(60, (bytes([60, 100]) + bytes(806)) * 81)
        result = decode(data)
        assert _reason(result) is MalformedReason.EXTENSION_LENGTH
        assert isinstance(result, Malformed)
        assert result.offset == 40 + 808

    def test_only_the_head_of_a_view_is_copied(self) -> None:
        data = _ipv4(6, bytes.fromhex("c35001bb" + "00" * 8 + "5002" + "00" * 10) + bytes(65000))
        assert decode(memoryview(data)) == decode(data)


class TestBuffers:
    _DATA = bytes.fromhex(_GOLDEN["packet"][0]["hex"])

    def test_views_of_other_shapes(self) -> None:
        expected = decode(self._DATA)
        assert decode(memoryview(self._DATA).cast("b")) == expected
        assert decode(memoryview(self._DATA).cast("I")) == expected
        assert decode(memoryview(self._DATA).cast("B", (4, 11))) == expected
        assert decode(memoryview(b"\x45").cast("B", ())) == decode(b"\x45")
        spread = bytes(byte for value in self._DATA for byte in (value, 0))
        assert decode(memoryview(spread)[::2]) == expected

    def test_the_result_does_not_follow_a_reused_buffer(self) -> None:
        buffer = bytearray(self._DATA)
        packet = decode(memoryview(buffer))
        buffer[:] = bytes(len(buffer))
        assert packet == decode(self._DATA)
