"""The DNS decoder: golden bytes, properties, and dnspython as its oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.dns import (
    MAX_ANSWERS,
    DNSAnswer,
    DNSMessage,
    DNSReason,
    MalformedDNS,
    decode_dns,
    rcode_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

QUERY = bytes.fromhex(
    "1234 0100 0001 0000 0000 0000 03777777 074578616d706c65 03636f6d 00 0001 0001"
)
ANSWER = bytes.fromhex(
    "1234 8180 0001 0003 0000 0000 03777777 074578616d706c65 03636f6d 00 0001 0001"
    "c00c 0005 0001 0000012c 0006 03 63646e c018"  # www CNAME cdn.<com>
    "c02d 0001 0001 0000003c 0004 c0000207"
    "c02d 001c 0001 0000003c 0010 20010db8000000000000000000000007"
)


def read(data: bytes, *, cut: bool = False) -> DNSMessage:
    found = decode_dns(data, cut=cut)
    assert isinstance(found, DNSMessage), found
    return found


def refuse(data: bytes) -> DNSReason:
    found = decode_dns(data)
    assert isinstance(found, MalformedDNS), found
    assert 0 <= found.offset <= len(data)
    return found.reason


def test_a_query() -> None:
    assert read(QUERY) == DNSMessage(
        identifier=0x1234,
        is_response=False,
        opcode=0,
        rcode=0,
        truncated=False,
        name="www.example.com.",
        type=1,
        record_class=1,
    )


def test_an_answer_with_alias_and_both_kinds_of_addresses() -> None:
    found = read(ANSWER)
    assert found.is_response
    assert found.complete
    assert found.answers == (
        DNSAnswer(name="www.example.com.", type=5, ttl_seconds=300, alias="cdn.com."),
        DNSAnswer(name="cdn.com.", type=1, ttl_seconds=60, address=bytes([192, 0, 2, 7])),
        DNSAnswer(
            name="cdn.com.",
            type=28,
            ttl_seconds=60,
            address=bytes.fromhex("20010db8000000000000000000000007"),
        ),
    )


def test_what_a_capture_cut_is_read_as_far_as_it_goes() -> None:
    for size in range(len(QUERY), len(ANSWER)):
        found = read(ANSWER[:size], cut=True)
        assert not found.complete
        assert found.answers == read(ANSWER).answers[: len(found.answers)]
        assert refuse(ANSWER[:size]) is DNSReason.TRUNCATED
    for size in range(len(QUERY)):
        assert decode_dns(ANSWER[:size], cut=True) == decode_dns(ANSWER[:size])


def test_a_server_that_says_so_may_send_less_than_it_announces() -> None:
    message = bytearray(ANSWER[:-20])
    message[2] |= 0x02
    found = read(bytes(message))
    assert found.truncated
    assert not found.complete


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m[:11], DNSReason.TRUNCATED),
        (lambda m: m[:4] + b"\0\2" + m[6:], DNSReason.QUESTION_COUNT),
        (lambda m: m[:12] + b"\x43" + m[13:], DNSReason.LABEL_TYPE),
        (lambda m: m[:12] + b"\xc0\x0c" + m[14:], DNSReason.POINTER),
        (lambda m: m[:12] + b"\xc0\x0e" + m[14:], DNSReason.POINTER),
        (lambda m: m[:12] + b"\xff\xff" + m[14:], DNSReason.POINTER),
        (lambda m: m[:12] + b"\x3f" + m[13:], DNSReason.TRUNCATED),
        (lambda m: m[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0" + m[29:], DNSReason.NAME_LENGTH),
        (lambda m: m.replace(b"\0\4\xc0\0\2\7", b"\0\5\xc0\0\2\7\7"), DNSReason.ADDRESS_LENGTH),
        (lambda m: m.replace(b"\0\6\3cdn\xc0\x18", b"\0\7\3cdn\xc0\x18\0"), DNSReason.ALIAS_LENGTH),
    ],
)
def test_each_fault_has_a_name(change: Callable[[bytes], bytes], reason: DNSReason) -> None:
    assert refuse(change(ANSWER)) is reason


def test_the_longest_name_is_read_and_one_more_byte_is_not() -> None:
    labels = [b"a" * 63] * 3 + [b"b" * 61]
    wire = b"".join(bytes([len(one)]) + one for one in labels) + b"\0"
    assert len(wire) == 255
    assert read(QUERY[:12] + wire + QUERY[-4:]).name == ".".join(x.decode() for x in labels) + "."


def test_names_that_cost_much_are_refused() -> None:
    # A long chain of names, and answers that go through all of it.
    labels = b"\1a" * 120 + b"\0"
    record = b"%b\0\1\0\1\0\0\0\0\0\4abcd"
    pointers = b"".join(record % b"\1b\xc0\x0c" for _ in range(200))
    message = ANSWER[:6] + b"\0\xc8" + ANSWER[8:12] + labels + b"\0\1\0\1" + pointers
    assert refuse(message) is DNSReason.NAME_STEPS


def test_more_answers_than_the_limit_are_left_out() -> None:
    record = b"\xc0\x0c\0\1\0\1\0\0\0\7\0\4abcd"
    count = MAX_ANSWERS + 1
    found = read(ANSWER[:6] + count.to_bytes(2, "big") + ANSWER[8:33] + record * count)
    assert len(found.answers) == MAX_ANSWERS
    assert not found.complete


def test_a_lifetime_with_the_highest_bit_is_none() -> None:
    record = b"\xc0\x0c\0\1\0\1\x80\0\0\7\0\4abcd"
    (answer,) = read(ANSWER[:6] + b"\0\1" + ANSWER[8:33] + record).answers
    assert answer.ttl_seconds == 0


def test_other_records_and_classes_are_passed_over() -> None:
    records = b"\xc0\x0c\0\x10\0\1\0\0\0\7\0\4\3abc" + b"\xc0\x0c\0\1\0\3\0\0\0\7\0\4abcd"
    assert read(ANSWER[:6] + b"\0\2" + ANSWER[8:33] + records).answers == ()


def test_a_message_without_a_question() -> None:
    found = read(bytes.fromhex("1234 8081 0000 0000 0000 0000"))
    assert (found.name, found.rcode) == ("", 1)


def test_names_of_codes() -> None:
    assert [rcode_name(code) for code in (0, 2, 3, 15)] == [
        "NOERROR",
        "SERVFAIL",
        "NXDOMAIN",
        "RCODE15",
    ]


@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_are_a_message_or_say_why_not(data: bytes, cut: bool) -> None:
    found = decode_dns(data, cut=cut)
    if isinstance(found, DNSMessage):
        assert len(found.answers) <= MAX_ANSWERS
        assert found.name.isascii()
        assert found.name.isprintable()
        assert found.name == found.name.lower()


LABELS = st.lists(st.binary(min_size=1, max_size=20), min_size=0, max_size=5)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Answers as dnspython writes them, with compression."""
    query = dns.message.make_query(dns.name.Name([*draw(LABELS), b""]), draw(st.sampled_from("A")))
    answer = dns.message.make_response(query)
    answer.set_rcode(draw(st.integers(0, 10)))  # type: ignore[arg-type]  # a number is one
    names = [query.question[0].name, *(dns.name.Name([*draw(LABELS), b""]) for _ in range(2))]
    for _ in range(draw(st.integers(0, 4))):
        kind, text = draw(
            st.sampled_from(
                [
                    ("A", "192.0.2.1"),
                    ("AAAA", "2001:db8::1"),
                    ("CNAME", "x.example."),
                    ("TXT", '"t"'),
                ]
            )
        )
        ttl = draw(st.integers(0, 0x7FFFFFFF))
        answer.answer.append(
            dns.rrset.from_text(draw(st.sampled_from(names)), ttl, "IN", kind, text)
        )
    return answer.to_wire()


@given(messages())
def test_messages_are_read_as_dnspython_reads_them(wire: bytes) -> None:
    agree(wire)


@given(messages(), st.data())
def test_changed_messages_are_read_as_dnspython_reads_them(
    wire: bytes, data: st.DataObject
) -> None:
    changed = bytearray(wire)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    agree(bytes(changed))


def agree(wire: bytes) -> None:
    """Hold what both can read to be the same; dnspython refuses more, as it reads all."""
    found = decode_dns(wire)
    try:
        oracle = dns.message.from_wire(wire, one_rr_per_rrset=True, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return
    if isinstance(found, MalformedDNS):
        # What it allows and nobody sends.
        assert found.reason is DNSReason.QUESTION_COUNT
        return
    assert found.identifier == oracle.id
    assert found.is_response == bool(oracle.flags & dns.flags.QR)
    assert found.rcode == int(oracle.rcode()) & 0xF
    assert found.truncated == bool(oracle.flags & dns.flags.TC)
    if oracle.question:
        (question,) = oracle.question
        assert found.name == question.name.to_text().lower()
        assert found.type == question.rdtype
        assert found.record_class == question.rdclass
    if not found.is_response or oracle.opcode() != 0:
        return
    expected = []
    for rrset in oracle.answer:
        if rrset.rdclass != dns.rdataclass.IN:
            continue
        name, ttl = rrset.name.to_text().lower(), rrset.ttl
        for record in rrset:
            if rrset.rdtype in {dns.rdatatype.A, dns.rdatatype.AAAA}:
                expected.append((name, int(rrset.rdtype), ttl, record.to_wire(), ""))
            elif rrset.rdtype == dns.rdatatype.CNAME:
                expected.append((name, 5, ttl, b"", record.target.to_text().lower()))
    got = [(one.name, one.type, one.ttl_seconds, one.address, one.alias) for one in found.answers]
    assert got == expected
