"""What rsyslog reads is what was sent, over every transport.

A private rsyslogd runs in the foreground on loopback and on sockets in a temporary directory;
the system's own configuration is not touched.
"""

from __future__ import annotations

import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

from trireme_collector import ActionType, EndPoint, FlowRecord
from trireme_collector.formats import unescape_text
from trireme_collector_syslog import SyslogCollector, SyslogOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live

COUNT = 300
DEADLINE_SECONDS = 30.0
NASTY = '"\\]\n\r\t\0\x1b\x7f\x9b\u202e\u2028\ufeff\ud800é字😀 =<>%#'
PARAMETER = re.compile(r' ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"')
CONFIGURATION = """
global(workDirectory="{directory}" maxMessageSize="64k")
module(load="imudp")
module(load="imptcp")
module(load="imuxsock" SysSock.Use="off")
template(name="parsed" type="list") {{
  property(name="pri")             constant(value=" ")  property(name="protocol-version")
  constant(value=" ")              property(name="timereported" dateFormat="rfc3339")
  constant(value=" ")              property(name="hostname")
  constant(value=" ")              property(name="app-name")
  constant(value=" ")              property(name="procid")
  constant(value=" ")              property(name="msgid")
  constant(value=" ")              property(name="structured-data")
  constant(value=" ")              property(name="msg") constant(value="\\n") }}
ruleset(name="w" queue.type="Direct") {{
  action(type="omfile" file="{directory}/parsed.log" template="parsed") }}
input(type="imudp"  address="127.0.0.1" port="{port}" ruleset="w" rcvbufSize="4m")
input(type="imptcp" address="127.0.0.1" port="{port}" ruleset="w")
input(type="imptcp" path="{directory}/stream" ruleset="w")
input(type="imuxsock" Socket="{directory}/log" UsePIDFromSystem="off" UseSpecialParser="off"
      ParseHostname="on" UseSysTimeStamp="off" IgnoreTimestamp="off"
      RateLimit.Interval="0" ruleset="w")
"""


class Rsyslog(NamedTuple):
    """A running server."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]

    def lines(self, count: int) -> list[str]:
        """Wait for so many lines, and a moment longer for those that should not come."""
        path = self.directory / "parsed.log"
        end = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < end:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            if text.count("\n") >= count:
                break
            time.sleep(0.05)
        time.sleep(0.2)
        # Not splitlines(): it would split at characters that rsyslog has to leave alone.
        return path.read_text(encoding="utf-8").split("\n")[:-1]


def free_port() -> int:
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        port = tcp.getsockname()[1]
    assert isinstance(port, int)
    return port


@pytest.fixture
def rsyslog() -> Iterator[Rsyslog]:
    program = shutil.which("rsyslogd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")
    assert program, "rsyslogd is not installed: apt-get install --no-install-recommends rsyslog"
    # The path of a unix socket holds 107 bytes; pytest's temporary directories are deep.
    with tempfile.TemporaryDirectory(prefix="rsyslog-") as name:
        directory = Path(name)
        port = free_port()
        configuration = directory / "rsyslog.conf"
        configuration.write_text(CONFIGURATION.format(directory=directory, port=port))
        command = [program, "-n", "-i", str(directory / "pid"), "-f", str(configuration)]
        with (directory / "err").open("wb") as err:
            process = subprocess.Popen(command, stderr=err, stdout=err)
        try:
            wait_until_ready(directory, port, process)
            yield Rsyslog(directory, port, process)
        finally:
            process.terminate()
            process.wait(DEADLINE_SECONDS)


def wait_until_ready(directory: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, (directory / "err").read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
            continue
        if (directory / "log").exists() and (directory / "stream").exists():
            return
        time.sleep(0.05)
    pytest.fail((directory / "err").read_text())


def records() -> list[FlowRecord]:
    choose = random.Random(5424)
    return [
        FlowRecord(
            source=EndPoint(ip="10.0.0.1", port=number),
            destination=EndPoint(uri="".join(choose.choices(NASTY, k=choose.randrange(40)))),
            tags=("".join(choose.choices(NASTY, k=9)),),
            action=choose.choice([ActionType.ACCEPT, ActionType.REJECT]),
            sequence=number,
            end_time_ns=1_767_323_045_000_006_000 + number * 1_000,
        )
        for number in range(1, COUNT + 1)
    ]


def options(rsyslog: Rsyslog, transport: str) -> dict[str, object]:
    table: dict[str, dict[str, object]] = {
        "unix-datagram": {"transport": "unix", "address": f"{rsyslog.directory}/log"},
        "unix-stream": {"transport": "unix", "address": f"{rsyslog.directory}/stream"},
        "udp": {"transport": "udp", "port": rsyslog.port},
        "tcp-octet-counting": {
            "transport": "tcp",
            "port": rsyslog.port,
            "framing": "octet-counting",
        },
        "tcp-lf": {"transport": "tcp", "port": rsyslog.port, "framing": "lf"},
    }
    return table[transport]


@pytest.mark.parametrize(
    "transport", ["unix-datagram", "unix-stream", "udp", "tcp-octet-counting", "tcp-lf"]
)
def test_every_record_is_read_back_equal(rsyslog: Rsyslog, transport: str) -> None:
    config = msgspec.convert(
        {**options(rsyslog, transport), "hostname": "host1", "facility": "local0"}, SyslogOptions
    )
    collector = SyslogCollector(config, name="live")
    sent = records()
    for start in range(0, COUNT, 50):
        collector.deliver(sent[start : start + 50])
        if transport == "udp":
            time.sleep(0.02)  # nothing holds a UDP sender back but itself
    collector.close()
    lines = rsyslog.lines(COUNT)
    assert len(lines) == COUNT
    for record, line in zip(sent, lines, strict=True):
        pri, version, timestamp, host, app, _, msgid, rest = line.split(" ", 7)
        severity = 4 if record.action is ActionType.REJECT else 6
        assert (pri, version, host, app) == (str(16 * 8 + severity), "1", "host1", "trireme")
        assert msgid == "FLOW"
        assert timestamp.startswith("2026-01-02T03:04:05.")
        assert rest.startswith("[flow@32473 ")
        parameters = {
            name: unescape_text(re.sub(r'\\(["\\\]])', r"\1", value))
            for name, value in PARAMETER.findall(rest)
        }
        assert parameters["sequence"] == str(record.sequence)
        assert parameters.get("destination_uri", "") == record.destination.uri
        assert parameters["tag.1"] == record.tags[0]
        assert parameters["action"] == record.action.value


def test_a_restarted_server_is_found_again(rsyslog: Rsyslog) -> None:
    config = msgspec.convert(options(rsyslog, "unix-datagram"), SyslogOptions)
    collector = SyslogCollector(config, name="live")
    batch = records()[:2]
    collector.deliver(batch[:1])
    assert len(rsyslog.lines(1)) == 1
    rsyslog.process.terminate()
    rsyslog.process.wait(DEADLINE_SECONDS)
    program = str(rsyslog.process.args[0])  # type: ignore[index]  # it was started from a list
    directory = rsyslog.directory
    (directory / "log").unlink(missing_ok=True)
    (directory / "stream").unlink(missing_ok=True)
    command = [program, "-n", "-i", f"{directory}/pid2", "-f", f"{directory}/rsyslog.conf"]
    again = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(directory, rsyslog.port, again)
        collector.deliver(batch[1:])
        assert len(rsyslog.lines(2)) == 2
    finally:
        again.terminate()
        again.wait(DEADLINE_SECONDS)
    collector.close()
