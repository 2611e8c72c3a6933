"""What an operator may write; what is refused is refused with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugins.operators_file import SECRET, problems_of
from trireme_collector import Registry
from trireme_collector_ipfix import IpfixOptions

if TYPE_CHECKING:
    from pathlib import Path


def test_it_enters_by_the_plugin_door() -> None:
    assert Registry().collector_spec("ipfix").config_type is IpfixOptions


@pytest.mark.parametrize("host", ["nf.example", "192.0.2.1", "2001:db8::7"])
def test_a_host_is_enough(tmp_path: Path, host: str) -> None:
    assert problems_of(tmp_path, "ipfix", f'host = "{host}"') == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "host"),
        (['host = "nf.example:4739"'], "set port beside it"),
        (['host = "udp://nf.example"'], "found a URL or a path"),
        ([f'host = "u:{SECRET}@nf"'], "found a text with '@'"),
        (['host = ""'], "at most 255 printable characters"),
        (['host = "a\\nb"'], "at most 255 printable characters"),
        (['host = "a"', 'transport = "sctp"'], 'one of "tcp", "udp"'),
        (['host = "a"', "port = 0"], "from 1 to 65535"),
        (['host = "a"', "max_message_bytes = 100"], "from 512"),
        (['host = "a"', "observation_domain = -1"], "from 0"),
        (['host = "a"', "template_interval_seconds = 0"], "above 0"),
        (['host = "a"', 'trnsport = "udp"'], "did you mean transport?"),
    ],
)
def test_options_that_will_not_do(tmp_path: Path, lines: list[str], said: str) -> None:
    found = problems_of(tmp_path, "ipfix", *lines)
    assert len(found) == 1, found
    assert said in found[0]


def test_options_that_are_built_in_code_are_checked_too() -> None:
    with pytest.raises(ValueError, match=r"knows no user"):
        IpfixOptions(host=f"u:{SECRET}@nf")
