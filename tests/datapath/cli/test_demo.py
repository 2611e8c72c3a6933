"""The demo without a kernel: it replays the capture and says why."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
import structlog
from scapy.utils import checksum

from trireme_collector import ActionType, EndPoint, FlowRecord, cli
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.demo import (
    ATTEMPTS,
    Attempt,
    DemoReport,
    Outcome,
    Result,
    Screen,
    _attempts,
    _syslog,
)
from trireme_datapath.kernel import namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PATH", os.environ.get("PATH", os.defpath))
    yield
    structlog.reset_defaults()


def test_without_the_means_it_says_what_is_missing_and_replays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(namespaces, "may_make_networks", lambda: True)
    monkeypatch.setattr(namespaces, "missing_means", lambda: ["the program ip is not installed"])
    assert cli.main(["demo"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert out.startswith("No real packets here: the program ip is not installed.\n")
    assert "ACCEPT  tcp   192.0.2.10:44001      -> 198.51.100.20:80" in out
    assert "15 flows: 8 accepted, 7 rejected." in out
    assert "The collector file wrote 15 lines" in out
    assert "The collector syslog sent 15 messages" in out
    assert "Next: " in out


@pytest.mark.parametrize(
    ("directory", "active", "program"),
    [
        (".", False, ".venv/bin/trireme-collector"),
        (".", True, "trireme-collector"),
        ("elsewhere", False, "{base}/.venv/bin/trireme-collector"),
    ],
)
def test_the_next_command_can_be_typed_as_it_stands(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    directory: str,
    active: bool,
    program: str,
) -> None:
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "trireme-collector").touch(mode=0o755)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / directory)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", str(programs) if active else str(tmp_path))
    assert cli.main(["demo", "--replay"]) == ExitCode.OK
    said = capsys.readouterr().out
    assert f"\n  {program.format(base=tmp_path)} policy explain " in said


def test_without_root_and_user_namespaces_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(namespaces, "may_make_networks", lambda: False)
    refused = subprocess.CompletedProcess[str]([], 1, "", "unshare: Operation not permitted")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: refused)
    assert cli.main(["demo", "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["version"] == 1
    assert shown["as_expected"]
    demo = shown["demo"]
    assert demo["mode"] == "replay"
    assert "user namespaces do not work (unshare: Operation not permitted)" in demo["missing"][0]
    assert len(demo["records"]) == len(demo["file_lines"]) == len(demo["syslog_messages"]) == 15
    assert [json.loads(line) for line in demo["file_lines"]] == demo["records"]


def test_without_root_it_begins_again_inside_a_user_namespace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(namespaces, "may_make_networks", lambda: False)
    works = subprocess.CompletedProcess[str]([], 0, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: works)
    begun: list[tuple[list[str], dict[str, str]]] = []

    def execvpe(_file: str, words: list[str], environment: dict[str, str]) -> list[str]:
        begun.append((words, environment))
        return ["the test goes on"]

    monkeypatch.setattr(os, "execvpe", execvpe)
    assert cli.main(["--color", "never", "demo", "--refuse", "--json"]) == ExitCode.OK
    ((words, environment),) = begun
    assert words[:4] == ["unshare", "--user", "--map-root-user", "--"]
    assert words[-7:] == [
        *("--color", "never", "demo"),
        *("--backend", "netlink", "--refuse", "--json"),
    ]
    assert environment["TRIREME_DEMO_INSIDE"] == "1"


def test_the_capture_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--replay"]) == ExitCode.OK
    assert "asked for with --replay" in capsys.readouterr().out


def test_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.main(["demo", "--replay"]) == ExitCode.OK
    assert capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_sigterm_tidies_up_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def told_to_end(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        monkeypatch.setattr("trireme_datapath.demo.run_replayed", told_to_end)
        assert cli.main(["demo", "--replay"]) == ExitCode.INTERRUPTED
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_both_verdicts_are_tried_for_each_protocol_and_version() -> None:
    tried = {(a.protocol, a.version, a.allowed) for a in ATTEMPTS}
    assert tried == {
        (protocol, version, allowed)
        for protocol in ("tcp", "udp", "icmp")
        for version in (4, 6)
        for allowed in (True, False)
    }


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TimeoutError(), Outcome.TIMED_OUT),
        (ConnectionRefusedError(), Outcome.REFUSED),
        (ConnectionResetError(), Outcome.REFUSED),
        (OSError(113, "No route to host"), Outcome.UNREACHABLE),
        (PermissionError(13, "Permission denied"), Outcome.UNREACHABLE),
    ],
)
def test_what_a_client_sees_has_a_word(error: OSError, outcome: Outcome) -> None:
    def fail(_attempt: Attempt) -> Outcome:
        raise error

    assert _attempts._outcome(fail, ATTEMPTS[0]) is outcome


def test_other_errors_are_not_a_result() -> None:
    def fail(_attempt: Attempt) -> Outcome:
        raise OSError(24, "Too many open files")

    with pytest.raises(OSError, match="Too many open files"):
        _attempts._outcome(fail, ATTEMPTS[0])


@pytest.mark.parametrize("data", [b"\0\0", b"\xff\xff\xff\xff", struct.pack(">8H", *range(8))])
def test_the_checksum_is_that_of_the_internet(data: bytes) -> None:
    assert _attempts._checksum(data) == checksum(data)


def test_a_client_that_saw_something_else_is_noticed() -> None:
    seen = Result(attempt=ATTEMPTS[0], outcome=Outcome.TIMED_OUT, milliseconds=1.0)
    assert not seen.as_expected
    report = DemoReport(mode="live", missing=(), backend="netlink", policy="p", attempts=(seen,))
    assert not report.as_expected


def test_the_syslog_socket_keeps_what_came_before_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with (
        _syslog.SyslogSocket(path) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sender.sendto(b"<30>1 one", str(path))
        sender.sendto(b"\xff", str(path))
        listener.close()
    assert listener.messages == ["<30>1 one", "\ufffd"]


FLOW = FlowRecord(
    context_id="web",
    source=EndPoint(ip="192.0.2.10", port=50422),
    destination=EndPoint(ip="198.51.100.20", port=80),
    policy_id="http",
    action=ActionType.ACCEPT,
    l4_protocol=6,
    packets=1,
    bytes=60,
    end_time_ns=1,
)


@pytest.mark.parametrize(
    ("columns", "begins", "ends"),
    [
        (None, "  00:00:00.000000 flow", "bytes=60\n"),
        (200, "  00:00:00.000000 flow", "bytes=60\n"),
        (115, "  flow", "bytes=60\n"),
        (105, "  flow", "packets=1\n"),
        (96, "  flow", "unit=web\n"),
        (87, "  flow", "policy=http\n"),
        (20, "  flow", "policy=http\n"),
    ],
)
def test_a_flow_stands_on_one_line_of_the_terminal(
    capsys: pytest.CaptureFixture[str], columns: int | None, begins: str, ends: str
) -> None:
    screen = Screen(color=True, quiet=False, columns=columns)
    screen.deliver([FLOW])
    line = click.unstyle(capsys.readouterr().out)
    assert line.startswith(begins)
    assert line.endswith(ends)
    if columns is not None and columns > 80:
        assert len(line.rstrip("\n")) <= columns


def test_records_wait_until_the_client_has_spoken(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(color=False, quiet=False)
    screen.hold()
    screen.deliver([FLOW])
    assert screen.wait_for(1, 0)
    screen.show(Result(attempt=ATTEMPTS[0], outcome=Outcome.CONNECTED, milliseconds=0.3))
    screen.release()
    client, record = capsys.readouterr().out.splitlines()
    assert client == "client -> web tcp 80, IPv4               connected       0.3 ms"
    assert "ACCEPT" in record
