"""Interfaces that cannot be tapped; with those that can, the kernel helps in `tests/live`."""

from __future__ import annotations

import errno
import socket

import pytest

from trireme_collector.cli.errors import exit_code_of
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.recorder import Refusal
from trireme_datapath.recorder._errors import RecorderError
from trireme_datapath.recorder._packet_socket import ANY_INTERFACE
from trireme_datapath.recorder._tap import open_taps


def test_a_missing_capability_has_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(RecorderError, match="CAP_NET_RAW is missing; run as root") as caught:
        open_taps([ANY_INTERFACE], (), capture_bytes=64)
    assert caught.value.refusal is Refusal.FORBIDDEN
    assert exit_code_of(caught.value) == ExitCode.PRIVILEGE
