"""The options become the header of the message, in either format."""

from __future__ import annotations

import os
import socket

import msgspec

from trireme_collector import ContainerRecord, FlowRecord
from trireme_collector_syslog import SyslogOptions
from trireme_collector_syslog._rendering import renderer

NOW = 1_767_323_045_000_006_000


def render(**options: object) -> str:
    config = msgspec.convert(options, SyslogOptions)
    return renderer(config)(FlowRecord(count=1), NOW).decode()


def test_the_new_format_names_the_host_on_every_transport() -> None:
    for transport in ("unix", "udp"):
        words = render(transport=transport).split(" ")
        assert words[0] == "<30>1"
        assert words[2:5] == [socket.gethostname(), "trireme", str(os.getpid())]


def test_the_old_format_names_the_host_on_networks_only() -> None:
    tag = f"trireme[{os.getpid()}]:"
    words = render(transport="unix", format="rfc3164").split()
    assert words[3] == tag
    words = render(transport="udp", format="rfc3164", hostname="h").split()
    assert words[3:5] == ["h", tag]
    words = render(transport="unix", format="rfc3164", hostname="h").split()
    assert words[3:5] == ["h", tag]


def test_the_time_is_given_to_records_without_one() -> None:
    config = SyslogOptions()
    message = renderer(config)(ContainerRecord(), NOW)
    assert b" 2026-01-02T03:04:05.000006Z " in message
