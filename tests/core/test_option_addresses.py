"""What stands where an address or the name of a host belongs is refused without repeating it."""

from __future__ import annotations

import msgspec
import pytest

from trireme_collector.option_addresses import IpAddress, check_host
from trireme_collector.strict_toml import Unfit, parse_document


class _Options(msgspec.Struct, frozen=True):
    address: IpAddress


@pytest.mark.parametrize(
    ("address", "fits"),
    [("10.0.0.1", True), ("2001:db8::7", True), ("host", False), ("10.0.0.256", False)],
)
def test_addresses_are_those_of_either_version(address: str, fits: bool) -> None:
    document = parse_document(f'address = "{address}"')
    assert (document.convert((), _Options) is not None) is fits
    assert [problem.expected for problem in document.problems] == (
        [] if fits else ["an IP address"]
    )


@pytest.mark.parametrize("host", ["logs.example", "10.0.0.1", "2001:db8::7", "a" * 255])
def test_hosts(host: str) -> None:
    check_host(host, protocol="IPFIX")


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        ("user:secret@logs", "a text with '@'", "; IPFIX knows no user"),
        ("udp://logs", "a URL or a path", "; set transport and port beside it"),
        ("logs:4739", "a text with ':'", "; set port beside it"),
        ("two words", "another text", ", at most 255 printable characters"),
        ("a\nb", "another text", ", at most 255 printable characters"),
        ("a" * 256, "another text", ", at most 255 printable characters"),
        ("", "another text", ", at most 255 printable characters"),
    ],
)
def test_what_is_no_host(text: str, found: str, expected: str) -> None:
    with pytest.raises(Unfit) as refused:
        check_host(text, protocol="IPFIX")
    assert refused.value.found == found
    assert refused.value.expected == f"the name or the address of a host{expected}"
