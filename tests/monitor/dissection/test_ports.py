"""The names of ports, and the tables of protocols."""

from __future__ import annotations

import pytest

from tests.monitor.cilium_vectors import document
from trireme_datapath.monitor.dissection._icmp import ICMPv6
from trireme_datapath.monitor.dissection._ports import (
    TCP_PORT_LAYERS,
    UDP_PORT_LAYERS,
    port_text,
)
from trireme_datapath.monitor.dissection._progress import Progress
from trireme_datapath.monitor.dissection._protocols import ETHERNET_TYPES, ip_protocol


@pytest.mark.parametrize(
    ("protocol", "port", "text"),
    [
        ("tcp", 80, "80(http)"),
        ("udp", 4789, "4789(vxlan)"),
        ("tcp", 6443, "6443(sun-sr-https)"),
        ("sctp", 443, "443(https)"),
        ("sctp", 4789, "4789"),
        ("tcp", 0, "0"),
        ("udp", 65535, "65535"),
    ],
)
def test_names(protocol: str, port: int, text: str) -> None:
    assert port_text(protocol, port) == text


def test_the_tables_are_those_recorded() -> None:
    tables = document()["tables"]
    assert {str(port): name for port, name in TCP_PORT_LAYERS.items()} == tables["tcp_port_layer"]
    assert {str(port): name for port, name in UDP_PORT_LAYERS.items()} == tables["udp_port_layer"]
    recorded = {int(number, 16): tuple(names) for number, names in tables["ethertype"].items()}
    # It is below the smallest type, and so a length.
    del recorded[0x01A2]
    assert recorded == ETHERNET_TYPES
    for number, (name, layer) in tables["ipproto"].items():
        layer_name = layer.partition("#")[0]
        expected = "" if layer_name == "Unknown" else layer_name
        assert ip_protocol(int(number)) == (name, expected)


def test_what_follows_icmpv6() -> None:
    for key, expected in document()["tables"]["icmp6_next_layer"].items():
        number, _, size = key.removesuffix("bytes").partition("+")
        layer = ICMPv6(Progress(0, is_1_9=False))
        layer.decode(bytes([int(number), 0, 0, 0]) + bytes(int(size or 0)))
        assert layer.next_layer() == expected, key
