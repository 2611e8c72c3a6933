"""`trireme-collector monitor`: what it prints, where, and how it ends."""

from __future__ import annotations

import errno
import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from tests.datapath.monitor.monitor_servers import FakeMonitorServer
from trireme_collector.cli import main
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.cli import _monitor_output
from trireme_datapath.cli.monitor import monitor
from trireme_datapath.monitor import Mode, render_stream
from trireme_datapath.monitor.sources import (
    Event,
    FileSource,
    MonitorSocket,
    Payload,
    PayloadType,
    SourceError,
    SourceFault,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[2] / "data" / "monitor"
SESSION = DATA / "session.gob"
SESSION_BYTES = SESSION.read_bytes()


def run(*words: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(monitor, [str(word) for word in words], input=stdin)


def printed(*words: object, stdin: bytes | None = None) -> str:
    result = run(*words, stdin=stdin)
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ((), Mode.INFO),
        (("-n",), Mode.INFO_NUMERIC),
        (("-v",), Mode.DEBUG),
        (("-vv",), Mode.VERBOSE),
        (("-v", "-v", "-n"), Mode.VERBOSE_NUMERIC),
        (("-vv", "--hex"), Mode.VERBOSE_HEX),
        (("-j",), Mode.JSON),
        (("--json", "-vv"), Mode.JSON),
        (("-vvv",), Mode.INFO),
    ],
)
def test_a_recorded_session_in_every_mode(options: tuple[str, ...], mode: Mode) -> None:
    text = printed("--input", SESSION, *options)
    assert text == render_stream(SESSION_BYTES, mode=mode)
    assert text


@pytest.mark.parametrize("profile", ["1.16", "1.9"])
@pytest.mark.parametrize("fixed", [False, True])
def test_profiles_and_fixed(profile: str, *, fixed: bool) -> None:
    text = printed("--input", SESSION, "--profile", profile, *["--fixed"] * fixed)
    assert text == render_stream(SESSION_BYTES, profile=profile, fixed=fixed)


def test_filters() -> None:
    text = printed("--input", SESSION, "--type", "drop", "-t", "policy-verdict", "--from", "30")
    conditions: dict[str, list[str | int]] = {"types": ["drop", "policy-verdict"], "from": [30]}
    assert text == render_stream(SESSION_BYTES, filter=conditions)
    assert text.count("Policy verdict log") == 3
    related = printed("--input", SESSION, "--related-to", "20", "--to", "0")
    assert related == render_stream(SESSION_BYTES, filter={"related": [20], "to": [0]})


def test_standard_input_in_hex() -> None:
    lines = b"0185ff\n" + json.loads((DATA / "session.json").read_bytes())[0]["data"].encode()
    text = printed("--input", "-", stdin=lines)
    assert text.startswith("Error while parsing drop notification message: unexpected EOF\n")
    assert text.endswith("130.85.92.42:6379 -> 192.168.126.193:5432 tcp ACK, FIN\n")


def test_the_form_can_be_said() -> None:
    assert printed("--input", "-", "--format", "raw", stdin=b"\x08") == (
        "CPU 00: Unknown event: [8]\n"
    )


def test_time_of_text_and_of_json() -> None:
    for line in printed("--input", SESSION, "--time", "-t", "drop").splitlines():
        assert line[4] == "-"
        assert line[19] == "."
        assert line[26:].startswith(("Z xx drop", "Z CPU"))
    for line in printed("--input", SESSION, "--time", "-j", "--fixed").splitlines():
        assert json.loads(line)["time"].endswith("Z")


def test_statistics() -> None:
    result = run("--input", SESSION, "--stats", "-t", "drop")
    rows = dict(line.rsplit(None, 1) for line in result.stderr.splitlines())
    assert rows["messages"] == "14"
    assert rows["  drop"] == "3"
    assert rows["lost"] == "21"
    assert rows["filtered"] == "8"


def test_statistics_in_json() -> None:
    damaged = SESSION_BYTES[:-3]
    result = run("--input", "-", "--stats", "-j", stdin=damaged)
    counts = json.loads(result.stderr.splitlines()[-1])
    assert counts["version"] == 1
    assert counts["statistics"]["types"]["trace-sock"] == 2
    assert counts["statistics"]["faults"] == {"cut": 1}
    assert counts["statistics"]["lost"] == 17


def test_what_is_wrong_with_the_input_is_said_and_the_rest_is_shown() -> None:
    result = run("--input", "-", stdin=b"08\nnonsense\n09\n")
    assert result.exit_code == 0
    assert result.stdout == "CPU 00: Unknown event: [8]\nCPU 00: Unknown event: [9]\n"
    assert result.stderr == "warning: line 2 is passed over: 'n' is no hexadecimal digit\n"


def test_a_file_without_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other"
    path.write_text("one\ntwo\n")
    assert main(["monitor", "--input", str(path)]) == ExitCode.INPUT
    said = capsys.readouterr().err
    assert f"{path} holds no message, but 2 damaged places; check --format" in said
    path.write_text("# nothing\n")
    assert main(["monitor", "--input", str(path)]) == ExitCode.OK


def test_many_complaints_are_not_all_shown() -> None:
    result = run("--input", "-", "--stats", stdin=b"08\n" + b"x\n" * 100)
    lines = result.stderr.splitlines()
    assert len([line for line in lines if line.startswith("warning:")]) == 20
    assert "further warnings are only counted; --stats shows the counts" in lines
    assert lines[-1].split() == ["source", "damaged", "100"]


# Sockets.


def test_a_socket_until_it_closes(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"
    with FakeMonitorServer(path) as server:

        def serve() -> None:
            agent = server.accept()
            agent.sendall(SESSION_BYTES)
            agent.close()

        thread = threading.Thread(target=serve)
        thread.start()
        result = run("--socket", path, "--no-follow", "-t", "policy-verdict")
        thread.join()
    assert result.stdout.count("Policy verdict log") == 3
    first, warning = result.stderr.splitlines()
    assert first == "Press Ctrl-C to quit"
    assert warning.endswith("monitor.sock was closed")


def test_the_socket_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CILIUM_MONITOR_SOCK", str(tmp_path / "there.sock"))
    result = run("--no-follow")
    assert "there.sock cannot be connected" in str(result.exception)
    # A file that is named on the command line is what is meant.
    assert run("--input", SESSION).exit_code == 0


def test_ctrl_c_ends_what_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[MonitorSocket] = []

    def events(_: MonitorSocket, *, reconnect: bool) -> Iterator[list[Event]]:
        assert reconnect
        yield [Payload(data=b"\x08")]
        yield [Payload(lost=3, cpu=1, type=PayloadType.LOST)]
        yield [SourceError(fault=SourceFault.CLOSED, message="it was closed")]
        raise KeyboardInterrupt

    def close(source: MonitorSocket) -> None:
        closed.append(source)

    monkeypatch.setattr(MonitorSocket, "events", events)
    monkeypatch.setattr(MonitorSocket, "close", close)
    result = run("--stats")
    assert result.exit_code == 0
    assert result.stdout == "CPU 00: Unknown event: [8]\nCPU 01: Lost 3 events\n"
    assert result.stderr.splitlines()[-1].split() == ["source", "closed", "1"]
    assert len(closed) == 1


def test_a_service_manager_ends_it_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def events(_: MonitorSocket, *, reconnect: bool) -> Iterator[list[Event]]:
        yield [Payload(data=b"\x08")]
        signal.raise_signal(signal.SIGTERM)
        pytest.fail(f"it went on, {reconnect}")

    monkeypatch.setattr(MonitorSocket, "events", events)
    before = signal.getsignal(signal.SIGTERM)
    result = run("--stats")
    assert (result.exit_code, result.stdout) == (0, "CPU 00: Unknown event: [8]\n")
    assert "messages   1" in result.stderr
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_in_a_file_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def events(_: FileSource) -> Iterator[list[Event]]:
        yield [Payload(data=b"\x08")]
        raise KeyboardInterrupt

    monkeypatch.setattr(FileSource, "events", events)
    assert run("--input", SESSION).exit_code == ExitCode.INTERRUPTED
    assert run("--input", SESSION, "--follow").exit_code == 0


def test_a_reader_that_went_away_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def put(_: _monitor_output.MonitorPrinter, __: list[Event]) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(_monitor_output.MonitorPrinter, "put", put)
    monkeypatch.setattr("trireme_collector.cli._main._silence_stdout", lambda: None)
    assert main(["monitor", "--input", str(SESSION)]) == 0
    assert capfd.readouterr().err == ""


# Mistakes.


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--type", "dorp"), "found 'dorp', expected one of agent, capture,"),
        (("--type", "dorp"), "did you mean drop?"),
        (("--type", "trace-sock", "--profile", "1.9"), "found 'trace-sock', expected one of"),
        (("--from", "70000"), "found '70000', expected the number of an endpoint, 0 to 65535"),
        (("--related-to", "web"), "--related-to: found 'web'"),
        (("--input", "x", "--socket", "y"), "--input and --socket exclude each other"),
        (("--profile", "2.0"), "'2.0' is not one of '1.16', '1.9'"),
        (("surplus",), "unexpected extra argument"),
    ],
)
def test_usage_errors(words: tuple[str, ...], complaint: str) -> None:
    result = run(*words)
    assert result.exit_code == ExitCode.USAGE
    assert complaint in result.stderr.replace("\n", " ")


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["monitor", "--input", str(tmp_path / "nothing")])
    assert code == ExitCode.INPUT
    assert "cannot be opened: No such file or directory" in capsys.readouterr().err


def test_an_agent_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["monitor", "--socket", str(tmp_path / "nothing"), "-j"])
    assert code == ExitCode.INPUT
    assert "start the agent, give another --socket, or --follow" in capsys.readouterr().err
