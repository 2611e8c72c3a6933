"""Addresses and schemas as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from trireme_collector.errors import ConfigError
from trireme_datapath.grpc_server import Address, ListenConfig, parse_address, parse_schema


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:///run/a.sock", Address(path="/run/a.sock")),
        ("unix:/run/a.sock", Address(path="/run/a.sock")),
        ("unix:a.sock", Address(path="a.sock")),
        ("/run/a.sock", Address(path="/run/a.sock")),
        ("192.0.2.1:4244", Address(host="192.0.2.1", port=4244)),
        ("tls://example.org:4244", Address(host="example.org", port=4244)),
        ("[2001:db8::1]:0", Address(host="2001:db8::1")),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse_address(text) == expected
    assert parse_address(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "unix://a",
        "unix:///" + "x" * 84,
        "unix:///a\0b",
        "example.org",
        ":4244",
        "a:b",
        "a:",
        "a:65536",
        "a:+1",
        "::1:4244",
        "a:\u0662",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|write|above"):
        parse_address(text)


def test_a_port_needs_a_certificate() -> None:
    with pytest.raises(ConfigError, match=r"\[here\] listen '127.0.0.1:1': whoever reaches"):
        ListenConfig(listen=["127.0.0.1:1"]).addresses("here")


def test_a_relative_socket_is_seen_from_the_configuration() -> None:
    config = ListenConfig(listen=["unix:a.sock"])
    assert config.addresses("here", Path("/etc").joinpath) == [Address(path="/etc/a.sock")]
    with pytest.raises(ConfigError, match="expected a path"):
        config.addresses("here", Path("/" + "x" * 80).joinpath)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("  a 1 string", "line 1: found 'a' outside of any block"),
        ("nothing here at all", "line 1: found 'nothing here at all'"),
        ("package p\nmessage M\n  a 1", "line 3: expected NAME NUMBER TYPE"),
        ("package p\nmessage M\n  a 1 N", "line 3: nothing declares N"),
        ("package p\nservice S\n  A B", "line 3: expected NAME"),
    ],
)
def test_what_is_no_schema(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_schema([text])


def test_a_schema_says_what_a_file_declares() -> None:
    schema = parse_schema(
        [
            "file a\npackage a\nmessage M\n  x 1 uint32*\nenum M.E\n  ZERO 0\n",
            (
                "package b\nimport a\nmessage N\n  m 3 a.M @one\n  e 4 a.M.E\nservice S\n"
                "  Do stream N -> a.M\n"
            ),
        ]
    )
    assert schema.messages["a.M"].fields["x"].repeated
    assert schema.messages["b.N"].fields["m"].oneof == "one"
    assert schema.messages["b.N"].fields["e"].type == "a.M.E"
    assert schema.enums["a.M.E"].numbers == {"ZERO": 0}
    (method,) = schema.files[1].services[0].methods
    assert (method.request_stream, method.response_stream) == (True, False)
    assert (method.request, method.response) == ("b.N", "a.M")
