"""Filters in the words of a command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.recorder import RecorderError
from trireme_datapath.recorder.filter_words import parse_filter_words


def shown(text: str) -> list[str]:
    return [str(one) for one in parse_filter_words(text)]


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        (
            "10.0.0.0/8:443 tcp",
            ["10.0.0.0/8 443 0.0.0.0/0 0 TCP", "0.0.0.0/0 0 10.0.0.0/8 443 TCP"],
        ),
        ("192.0.2.1 -> 192.0.2.2", ["192.0.2.1/32 0 192.0.2.2/32 0 ANY"]),
        ("192.0.2.1->192.0.2.2:80 TCP", ["192.0.2.1/32 0 192.0.2.2/32 80 TCP"]),
        ("any -> [2001:db8::/32]:53 udp", ["::/0 0 2001:db8::/32 53 UDP"]),
        ("[2001:db8::1] sctp", ["2001:db8::1/128 0 ::/0 0 SCTP", "::/0 0 2001:db8::1/128 0 SCTP"]),
        ("2001:db8::1", ["2001:db8::1/128 0 ::/0 0 ANY", "::/0 0 2001:db8::1/128 0 ANY"]),
        (
            ":53",
            [
                "0.0.0.0/0 53 0.0.0.0/0 0 ANY",
                "::/0 53 ::/0 0 ANY",
                "0.0.0.0/0 0 0.0.0.0/0 53 ANY",
                "::/0 0 ::/0 53 ANY",
            ],
        ),
        ("icmp", ["0.0.0.0/0 0 0.0.0.0/0 0 1"]),
        ("icmpv6", ["::/0 0 ::/0 0 58"]),
        ("any", ["0.0.0.0/0 0 0.0.0.0/0 0 ANY", "::/0 0 ::/0 0 ANY"]),
        ("89", ["0.0.0.0/0 0 0.0.0.0/0 0 89", "::/0 0 ::/0 0 89"]),
        ("10.1.2.3/8 0 0.0.0.0/0 443 TCP", ["10.0.0.0/8 0 0.0.0.0/0 443 TCP"]),
        ("0.0.0.0/0 0 0.0.0.0/0 36412 sctp", ["0.0.0.0/0 0 0.0.0.0/0 36412 SCTP"]),
    ],
)
def test_words_become_filters(text: str, filters: list[str]) -> None:
    assert shown(text) == filters


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("10.0.0.0/8:99999", "port 99999 is not from 1 to 65535"),
        ("10.0.0.0/8:0", "port 0 is not from 1 to 65535"),
        ("10.0.0.0/255.0.0.0", "is no network"),
        ("fe80::1%eth0", "is no network"),
        ("10.0.0.0/8 tcpp", '"tcpp" is no protocol'),
        ("300", "there is no protocol 300"),
        ("10.0.0.1 -> ::1", "one end is IPv4, the other IPv6"),
        ("10.0.0.1:80 icmp", "that protocol has no ports"),
        (":80 47", "that protocol has no ports"),
        ("::1 icmp", "that protocol is not one of IPv6"),
        ("10.0.0.1 icmpv6", "that protocol is not one of IPv4"),
        ("10.0.0.0/8 \u00b2 10.0.0.0/8 \u00b2 tcp", '"\u00b2" is no'),
        ("10.0.0.0/\u0663", "is no network"),
        ("\u0663", "is no network"),
        ("10.0.0.1 ->", "an arrow stands between two ends"),
        ("1.1.1.1 0 2.2.2.2 0 IPX", '"IPX" is no protocol'),
        ("1.1.1.1 0 2.2.2.2/32 0 TCP", "invalid CIDR address"),
        ("x" * 300, "it is too long"),
    ],
)
def test_mistakes_are_named(text: str, why: str) -> None:
    with pytest.raises(RecorderError) as caught:
        parse_filter_words(text)
    assert why in str(caught.value)


@given(st.text(alphabet="0123456789.:/[]-> abtcpudi%", max_size=40))
def test_any_words_are_filters_or_one_error(text: str) -> None:
    try:
        found = parse_filter_words(text)
    except RecorderError:
        return
    assert found
    assert len({one.source.version for one in found}) <= 2
    # What is shown can be read again, and means the same.
    for one in found:
        if one.protocol in {0, 6, 17, 132}:
            assert parse_filter_words(str(one)) == (one,)
