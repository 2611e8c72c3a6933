"""What a process gives up is gone; seen from outside, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trireme_collector.errors import ConfigError
from trireme_datapath.processes._privileges import Capability, become, permitted

SHOW = """
import os, subprocess, sys
from trireme_datapath.processes._privileges import *
{body}
status = open("/proc/self/status").read()
fields = dict(line.split(":", 1) for line in status.splitlines())
names = ("CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")
print(*(int(fields[name], 16) for name in names))
"""


def shown(body: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", SHOW.format(body=body)], capture_output=True, text=True, check=True
    )
    return [int(word) for word in done.stdout.split()]


def test_nothing_is_left_when_nothing_is_wanted() -> None:
    assert shown("keep_only([])") == [0, 0, 0, 0, 1]


def test_only_what_was_there_can_be_kept() -> None:
    wanted = permitted() & 1 << Capability.NET_ADMIN
    assert shown("keep_only([Capability.NET_ADMIN])") == [0, wanted, wanted, 0, 1]
    assert shown("keep_only([]); keep_only([Capability.NET_ADMIN])") == [0, 0, 0, 0, 1]


def test_programs_inherit_only_if_that_is_said() -> None:
    wanted = permitted() & 1 << Capability.NET_ADMIN
    inherited = "keep_only([Capability.NET_ADMIN], inherit=True)"
    assert shown(inherited) == [wanted, wanted, wanted, wanted, 1]
    again = 'subprocess.run([sys.executable, "-c", "pass"], check=True)'
    assert shown(f"{inherited}; {again}") == [wanted, wanted, wanted, wanted, 1]


def test_an_unknown_user_is_named() -> None:
    with pytest.raises(ConfigError, match="there is no user 'nobody-of-this-name'"):
        become("nobody-of-this-name", [])
