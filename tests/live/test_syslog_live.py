"""What rsyslog and syslog-ng read is what was sent, over every transport, whatever breaks."""

from __future__ import annotations

import itertools
import json
import os
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.live.conftest import wait_for
from tests.live.syslog_lab import (
    Certificates,
    Rsyslog,
    Server,
    SyslogNg,
    fetch_syslog_ng,
    make_certificates,
)
from trireme_collector import ActionType, EndPoint, FlowRecord, RetryableDeliveryError
from trireme_collector_syslog import SyslogCollector, SyslogOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.live, pytest.mark.patient]

COUNT = int(os.environ.get("SYSLOG_RECORDS", "10000"))
BATCH = 200
NASTY = '"\\]\n\r\t\0\x1b\x7f\x9b\u202e\u2028\ufeff\ud800é字😀 =<>%#'
FIRST_NS = 1_767_323_045_000_006_000
_RUN = itertools.count(1)
# A refusal is to be noticed within a second; the rest is for a busy machine.
REFUSAL_SECONDS = 1.5


@pytest.fixture(scope="module")
def certificates() -> Iterator[Certificates]:
    with tempfile.TemporaryDirectory(prefix="tls-") as name:
        yield make_certificates(Path(name))


@pytest.fixture(scope="module")
def rsyslog(certificates: Certificates) -> Iterator[Rsyslog]:
    # The path of a unix socket holds 107 bytes; pytest's temporary directories are deep.
    with tempfile.TemporaryDirectory(prefix="rsyslog-") as name:
        server = Rsyslog(Path(name), certificates)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def syslog_ng(certificates: Certificates) -> Iterator[SyslogNg]:
    with tempfile.TemporaryDirectory(prefix="syslog-ng-") as name:
        server = SyslogNg(Path(name), certificates, fetch_syslog_ng(Path(name)))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


def options(server: Server, transport: str) -> dict[str, object]:
    certificates = server.certificates
    lf_port = server.port if isinstance(server, Rsyslog) else server.lf_port
    # A line of its own ends each message that syslog-ng reads from a unix stream.
    stream = "octet-counting" if isinstance(server, Rsyslog) else "lf"
    address = server.directory
    table: dict[str, dict[str, object]] = {
        "unix-datagram": {"transport": "unix", "address": f"{address}/log"},
        "unix-stream": {"transport": "unix", "address": f"{address}/stream", "framing": stream},
        "udp": {"transport": "udp", "port": server.port},
        "tcp-octet-counting": {"transport": "tcp", "port": server.port},
        "tcp-lf": {"transport": "tcp", "port": lf_port, "framing": "lf"},
        "tls": {"transport": "tls", "port": server.tls_port, **certificates.client()},
        "relp": {"transport": "relp", "port": server.relp_port},
        "relp+tls": {
            "transport": "relp+tls",
            "port": server.relp_tls_port,
            **certificates.client(),
        },
    }
    return table[transport]


def make(server: Server, transport: str, **more: object) -> SyslogCollector:
    table = {
        **options(server, transport),
        "hostname": "host1",
        "facility": "local0",
        "send_timeout_seconds": 10,
        **more,
    }
    collector = SyslogCollector(msgspec.convert(table, SyslogOptions), name="live")
    collector.open()
    return collector


def hostile(count: int, run: str) -> list[FlowRecord]:
    """Make records that hold all of Unicode between them, and much of what breaks receivers."""
    choose = random.Random(5424)
    share = 0x110000 // max(count, 10_000) + 1
    return [
        FlowRecord(
            source=EndPoint(ip="10.0.0.1", port=number % 65536),
            destination=EndPoint(
                uri="".join(
                    chr(code) for code in range(number * share, min((number + 1) * share, 0x110000))
                )
            ),
            tags=("".join(choose.choices(NASTY, k=choose.randrange(1, 20))),),
            action=choose.choice([ActionType.ACCEPT, ActionType.REJECT]),
            instance=run,
            sequence=number + 1,
            end_time_ns=FIRST_NS + number * 1_000,
        )
        for number in range(count)
    ]


def plain(count: int, start: int = 0) -> list[FlowRecord]:
    return [
        FlowRecord(sequence=number, end_time_ns=FIRST_NS)
        for number in range(start + 1, start + count + 1)
    ]


def new_run() -> str:
    return f"run-{os.getpid()}-{next(_RUN)}"


NEW = ("unix-datagram", "unix-stream", "udp", "tcp-octet-counting", "tcp-lf", "tls")


@pytest.mark.parametrize(
    ("server", "transport"),
    [
        *(("rsyslog", transport) for transport in (*NEW, "relp", "relp+tls")),
        *(("syslog_ng", transport) for transport in NEW),
    ],
    indirect=["server"],
)
def test_every_record_is_read_back_equal(server: Server, transport: str) -> None:
    mark = server.mark()
    collector = make(server, transport)
    sent = hostile(COUNT, new_run())
    for start in range(0, COUNT, BATCH):
        collector.deliver(sent[start : start + BATCH])
        if transport == "udp" and start % (5 * BATCH) == 0:
            # Nothing holds a UDP sender back but itself.
            server.wait(lambda ready=start: server.count(mark) >= ready, "lost on the way")  # type: ignore[misc]  # bound at once
    collector.close()
    lines = server.settled(mark, COUNT)
    assert len(lines) == COUNT
    # Several connections or threads of a server may write in another order than they read.
    for record, line in zip(sent, lines, strict=True):
        parameters = server.parameters(line)
        assert parameters["sequence"] == str(record.sequence)
        assert parameters["instance"] == record.instance
        assert parameters.get("destination_uri", "") == record.destination.uri
        assert parameters["tag.1"] == record.tags[0]
        assert parameters["action"] == record.action.value
    assert "Error processing log message" not in "".join(lines) + server.errors()


@pytest.mark.parametrize("transport", ["relp", "relp+tls"])
def test_answers_are_not_waited_for_longer_than_they_take(rsyslog: Rsyslog, transport: str) -> None:
    collector = make(rsyslog, transport)
    collector.deliver(plain(1))
    batches = 100
    begin = time.monotonic()
    for number in range(batches):
        collector.deliver(plain(20, start=number * 20))
    spent = time.monotonic() - begin
    collector.close()
    # The kernel delays an acknowledgement by 40 ms where nobody tells it not to.
    assert spent < batches * 0.02


def test_the_header_is_read(rsyslog: Rsyslog) -> None:
    mark = rsyslog.mark()
    collector = make(rsyslog, "tcp-octet-counting")
    sent = hostile(50, new_run())
    collector.deliver(sent)
    collector.close()
    for record, line in zip(sent, rsyslog.settled(mark, 50), strict=True):
        pri, version, timestamp, host, app, _, msgid, rest = line.split(" ", 7)
        severity = 4 if record.action is ActionType.REJECT else 6
        assert (pri, version, host, app) == (str(16 * 8 + severity), "1", "host1", "trireme")
        assert msgid == "FLOW"
        assert timestamp.startswith("2026-01-02T03:04:05.")
        assert rest.startswith("[flow@32473 ")


def test_the_old_format_is_read_by_rsyslog(rsyslog: Rsyslog) -> None:
    nasty = FlowRecord(destination=EndPoint(uri=NASTY), action=ActionType.REJECT, sequence=7)
    local: dict[str, object] = {"address": f"{rsyslog.directory}/local", "hostname": ""}
    for transport, where in (("unix-datagram", local), ("udp", {})):
        mark = rsyslog.mark()
        collector = make(rsyslog, transport, **where, format="rfc3164")
        collector.deliver([nasty])
        collector.close()
        (line,) = rsyslog.settled(mark, 1)
        pri, version, timestamp, host, app, pid, _, rest = line.split(" ", 7)
        assert (pri, version) == (str(16 * 8 + 4), "0")
        assert (
            abs(time.time() - time.mktime(time.strptime(timestamp[:19], "%Y-%m-%dT%H:%M:%S"))) < 60
        )
        assert (app, pid) == ("trireme", str(os.getpid()))
        assert host == (os.uname().nodename.partition(".")[0] if where else "host1")
        assert " flow REJECT " in rest
        assert rsyslog.parameters(rest)["destination_uri"] == NASTY


def test_the_old_format_is_read_by_syslog_ng(syslog_ng: SyslogNg) -> None:
    mark = syslog_ng.mark()
    local: dict[str, object] = {"address": f"{syslog_ng.directory}/local", "hostname": ""}
    collector = make(syslog_ng, "unix-datagram", **local, format="rfc3164")
    collector.deliver([FlowRecord(action=ActionType.REJECT, sequence=7)])
    collector.close()
    (line,) = syslog_ng.settled(mark, 1)
    read = json.loads(line)
    assert (read["PROGRAM"], read["PID"]) == ("trireme", str(os.getpid()))
    assert read["MESSAGE"].startswith("flow REJECT")


@pytest.mark.parametrize("server", ["rsyslog", "syslog_ng"], indirect=True)
@pytest.mark.parametrize("shown", ["", "other", "rogue"])
def test_a_refusal_by_the_server_is_noticed(server: Server, shown: str) -> None:
    mark = server.mark()
    bad = {
        "client_certificate_file": "",
        "client_key_file": "",
        **server.certificates.client(shown),
    }
    collector = make(server, "tls", **bad)
    for _ in range(2):
        begin = time.monotonic()
        with pytest.raises(RetryableDeliveryError, match=r"refuses? this client") as caught:
            collector.deliver(plain(100))
        assert time.monotonic() - begin < REFUSAL_SECONDS
        assert caught.value.delivered == 0
    collector.close()
    assert not any("flow@" in line for line in server.lines(mark))


@pytest.mark.parametrize("server", ["rsyslog", "syslog_ng"], indirect=True)
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"server_name": "other.test"}, "certificate is not accepted: hostname mismatch"),
        ({"ca_file": "other-ca.pem"}, "certificate is not accepted: .*set ca_file"),
    ],
)
def test_another_server_is_not_spoken_to(
    server: Server, wrong: dict[str, str], reason: str
) -> None:
    path = {k: server.certificates.path(v) if k == "ca_file" else v for k, v in wrong.items()}
    collector = make(server, "tls", **path)
    with pytest.raises(RetryableDeliveryError, match=reason) as caught:
        collector.deliver(plain(1))
    assert caught.value.delivered == 0


def test_relp_over_tls_is_refused_too(rsyslog: Rsyslog) -> None:
    mark = rsyslog.mark()
    collector = make(rsyslog, "relp+tls", **rsyslog.certificates.client("other"))
    with pytest.raises(RetryableDeliveryError) as caught:
        collector.deliver(plain(1))
    assert caught.value.delivered == 0
    assert not rsyslog.lines(mark)


def test_a_restarted_server_is_found_again(rsyslog: Rsyslog) -> None:
    mark = rsyslog.mark()
    collectors = [make(rsyslog, transport) for transport in ("unix-datagram", "tls", "relp")]
    for number, collector in enumerate(collectors, 1):
        collector.deliver(plain(1))
        rsyslog.settled(mark, number)
    rsyslog.stop()
    mark = rsyslog.mark()
    rsyslog.start()
    for collector in collectors:
        collector.deliver(plain(1, start=1))
        collector.close()
    found = [rsyslog.parameters(line)["sequence"] for line in rsyslog.settled(mark, 4)]
    # The one that TLS may have lost comes again; RELP knows that it came.
    assert sorted(found) == ["1", "2", "2", "2"]


@pytest.mark.parametrize(("transport", "most_twice"), [("relp", 128), ("tcp-octet-counting", None)])
def test_a_crashed_server_loses_nothing(
    certificates: Certificates,
    request: pytest.FixtureRequest,
    transport: str,
    most_twice: int | None,
) -> None:
    kills = 4
    total = 12_000
    chance = random.Random(9)
    with tempfile.TemporaryDirectory(prefix="rsyslog-") as name:
        server = Rsyslog(Path(name), certificates)
        request.addfinalizer(server.stop)
        server.start()
        collector = make(server, transport, send_timeout_seconds=1, connect_timeout_seconds=1)
        records = plain(total)
        done = 0
        finished = threading.Event()

        def send() -> None:
            nonlocal done
            end = time.monotonic() + 60
            while done < total and time.monotonic() < end:
                try:
                    collector.deliver(records[done : done + 100])
                    done += len(records[done : done + 100])
                except RetryableDeliveryError as failure:
                    done += failure.delivered
                    time.sleep(0.02)
            finished.set()

        sender = threading.Thread(target=send)
        sender.start()
        for kill in range(1, kills + 1):
            goal = total * kill // (kills + 1)
            while done < goal and not finished.is_set():
                time.sleep(chance.uniform(0.001, 0.005))
            # It dies with what it has not read: a write to its socket has told nothing.
            server.freeze()
            time.sleep(0.05)
            server.kill()
            server.start()
        sender.join()
        assert wait_for(lambda: _flushed(collector), 30)
        collector.close()
        assert done == total
        lines = [line for line in server.settled(0, total) if "[flow@" in line]
        # What a crash cut in the file is a part of a line that runs into the next one.
        found = [number for line in lines for number in _sequences(line)]
    assert set(found) == set(range(1, total + 1))
    if most_twice is not None:
        assert len(found) - total <= kills * most_twice


def _flushed(collector: SyslogCollector) -> bool:
    """Do as the worker does: flush a second after the last batch, and again while that fails."""
    try:
        collector.flush()
    except RetryableDeliveryError:
        return False
    return True


def _sequences(line: str) -> list[int]:
    parts = line.split('sequence="')[1:]
    return [int(part.partition('"')[0]) for part in parts if '"' in part]
