"""Options that contradict each other are refused with their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme

from trireme_collector import ConfigError, Registry, build_pipeline
from trireme_collector_syslog import SyslogOptions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("transport", "port"),
    [("udp", 514), ("tcp", 514), ("tls", 6514), ("relp", 2514), ("relp+tls", 2514)],
)
def test_each_transport_has_its_port(transport: str, port: int) -> None:
    assert msgspec.convert({"transport": transport}, SyslogOptions).server_port == port
    given = msgspec.convert({"transport": transport, "port": 99}, SyslogOptions)
    assert given.server_port == 99


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"transport": "tls", "client_key_file": "key.pem"}, "client_certificate_file beside"),
        ({"transport": "tcp", "ca_file": "ca.pem"}, "ca_file means nothing without TLS"),
        ({"host": "logs.example"}, 'transport "udp", "tcp", "tls" or "relp" beside host'),
        ({"port": 514}, 'transport "udp", "tcp", "tls" or "relp" beside port'),
        ({"transport": "tcp", "address": "/run/log"}, 'transport "unix" beside address'),
        ({"transport": "relp", "verify": False}, "verify means nothing without TLS"),
        ({"server_name": "a.test"}, "server_name means nothing without TLS"),
        ({"transport": "tls", "framing": "lf"}, 'the only one of transport "tls"'),
        ({"transport": "relp", "framing": "lf"}, 'the only one of transport "relp"'),
        ({"transport": "tls", "server_name": "two words"}, "the name of a host"),
        ({"transport": "tls", "tls_minimum": "1.1"}, "tls_minimum"),
        ({"resend_window_bytes": -1}, "resend_window_bytes"),
    ],
    ids=str,
)
def test_contradictions_are_refused(
    wrong: dict[str, object], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    certificate = trustme.CA()
    certificate.cert_pem.write_to_path("ca.pem")
    certificate.private_key_pem.write_to_path("key.pem")
    with pytest.raises(ConfigError, match=r"collectors\.syslog") as caught:
        build_pipeline({"syslog": wrong}, Registry())
    assert reason in str(caught.value)
