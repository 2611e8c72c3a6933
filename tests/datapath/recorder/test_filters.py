"""Networks as Go reads them, and the checks of a filter in Cilium's order and words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.recorder import CaptureFilter, Protocol, RecorderError, build_filter
from trireme_datapath.recorder.filters import parse_network

ANY4, ANY6 = "0.0.0.0/0", "::/0"


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.0.0.0/08", "10.0.0.0/8"),
        (ANY4, ANY4),
        (ANY6, ANY6),
        ("fd00::1/64", "fd00::/64"),
        ("192.0.2.7/32", "192.0.2.7/32"),
    ],
)
def test_networks_are_read_as_go_reads_them(text: str, network: str) -> None:
    assert str(parse_network(text, "source")) == network


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8"),
        *("10.0.0.0/ 8", " 10.0.0.0/8", "10.0.0.0/8/8", "010.0.0.0/8", "0/0", "1.2.3/24"),
        *("10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "fe80::1%eth0/64", "::1/129"),
        *("10.0.0.0/٨", "::ffff:10.0.0.0/x", "10.0.0.0/99999999999999999999"),
    ],
)
def test_other_words_are_refused_with_the_text_of_go(text: str) -> None:
    with pytest.raises(RecorderError) as caught:
        parse_network(text, "source")
    assert str(caught.value).endswith(f": invalid CIDR address: {text}")
    assert str(caught.value).startswith("failed to parse source cidr ")


def test_texts_are_those_of_cilium_but_for_its_slip() -> None:
    def refusal(*words: str | int) -> str:
        with pytest.raises(RecorderError) as caught:
            build_filter(*words)  # type: ignore[arg-type]  # short forms
        return str(caught.value)

    assert refusal("10.0.0.1", ANY4) == (
        'failed to parse source cidr "10.0.0.1": invalid CIDR address: 10.0.0.1'
    )
    assert refusal(ANY4, "x") == ('failed to parse destination cidr "x": invalid CIDR address: x')
    assert refusal("10.0.0.0/8", "fd00::/8") == (
        "source (10.0.0.0/8) and destination cidr (fd00::/8) must be same protocol version"
    )
    assert refusal("::ffff:10.0.0.0/104", ANY4).endswith("must be same protocol version")
    assert refusal(ANY4, ANY4, 65_536, 70_000) == "source port 65536 out of range"
    assert refusal(ANY4, ANY4, 0, 70_000) == "destination port 70000 out of range"
    assert refusal(ANY4, ANY4, 0, 0, 300) == "protocol 300 out of range"
    # The first mistake is the one that is told.
    assert "source cidr" in refusal("x", "y", 70_000)


def test_a_filter_shows_itself_and_its_reverse() -> None:
    one = build_filter("10.1.1.1/8", ANY4, 0, 443, 6)
    assert str(one) == "10.0.0.0/8 0 0.0.0.0/0 443 TCP"
    assert str(one.reversed()) == "0.0.0.0/0 443 10.0.0.0/8 0 TCP"
    assert str(build_filter(ANY6, ANY6, protocol=1)) == "::/0 0 ::/0 0 1"
    assert one.has_ports
    assert not build_filter(ANY4, ANY4).has_ports


def test_the_enum_has_the_numbers_of_the_protocol() -> None:
    assert {one.name: one.value for one in Protocol} == {
        "PROTOCOL_ANY": 0,
        "PROTOCOL_TCP": 6,
        "PROTOCOL_UDP": 17,
        "PROTOCOL_SCTP": 132,
    }


@given(st.text(max_size=40))
def test_any_text_is_a_network_or_one_error(text: str) -> None:
    try:
        found = parse_network(text, "source")
    except RecorderError:
        return
    assert build_filter(text, text) == CaptureFilter(source=found, destination=found)
