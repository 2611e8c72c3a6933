"""`trireme-collector replay`: what it prints, where, and how it ends."""

from __future__ import annotations

import gzip
import json
import struct
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.message
import dns.rrset
import pytest
import structlog
from click.testing import CliRunner, Result
from scapy.layers.inet import IP, TCP, UDP

from trireme_collector import registry
from trireme_collector.cli import main
from trireme_collector.cli.errors import exit_code_of
from trireme_collector.errors import (
    ConfigError,
    DeliveryError,
    PermanentDeliveryError,
    PluginError,
    TriremeError,
)
from trireme_collector.exit_codes import ExitCode
from trireme_collector.hookspecs import CollectorSpec, hookimpl
from trireme_collector.records import FlowRecord, decode_json
from trireme_datapath.backends.pcap import (
    CapturedPacket,
    CaptureError,
    CaptureReader,
    TruncatedCaptureError,
)
from trireme_datapath.cli import replay as module
from trireme_datapath.cli.replay import replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import msgspec

    from trireme_collector.records import Record

CAPTURES = Path(__file__).parents[2] / "data" / "captures"
DEMO = Path(__file__).parents[3] / "datapath" / "trireme_datapath" / "data" / "demo.pcap"
POLICY = CAPTURES / "demo-policy.toml"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def run(*words: object, stdin: bytes | None = None, color: bool = False) -> Result:
    return CliRunner().invoke(replay, [str(word) for word in words], input=stdin, color=color)


def judged(*words: object, **options: Any) -> Result:  # noqa: ANN401  passed on
    result = run(*words, "--policy", POLICY, **options)
    if result.exception is not None:
        raise result.exception
    return result


def test_one_line_for_each_record() -> None:
    result = judged(DEMO)
    lines = result.stdout.splitlines()
    assert len(lines) == 15
    assert lines[0].split() == [
        "00:00:00.000000",
        "ingress",
        "ACCEPT",
        "tcp",
        "192.0.2.10:44001",
        "->",
        "198.51.100.20:80",
        "policy=http",
        "unit=web",
        "packets=1",
        "bytes=40",
    ]
    assert "\x1b" not in result.stdout


def test_the_summary_is_on_standard_error() -> None:
    assert judged(CAPTURES / "ethernet.pcap").stderr == (
        "7 frames read, 2 skipped (1 arp, 1 lldp); 5 packets judged: 5 accepted, 0 rejected,"
        " 0 malformed; 1 records\n"
    )
    assert judged(CAPTURES / "raw-odd.pcap").stderr == (
        "6 frames read, 0 skipped; 6 packets judged: 2 accepted, 1 rejected, 3 malformed;"
        " 5 records\n"
    )


def test_json_is_one_record_per_line() -> None:
    result = judged(DEMO, "--json")
    records = [decode_json(line.encode()) for line in result.stdout.splitlines()]
    flows = [record for record in records if isinstance(record, FlowRecord)]
    assert len(flows) == len(records) == 15
    assert (flows[0].policy_id, flows[0].start_time_ns) == ("http", 1_767_225_600_000_000_000)
    assert json.loads(result.stderr) == {
        "version": 1,
        "summary": {
            "frames": 40,
            "skipped": {},
            "judged": 40,
            "accepted": 26,
            "rejected": 14,
            "malformed": 0,
            "records": 15,
        },
    }


def test_decisions_in_json() -> None:
    result = judged(CAPTURES / "raw-odd.pcap", "--json", "--decisions")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    decisions = [line for line in lines if line["type"] == "decision"]
    assert [(d["number"], d["verdict"], d["reason"]) for d in decisions] == [
        (1, "drop", "policy"),
        (2, "accept", "policy"),
        (3, "accept", "known-flow"),
        (4, "drop", "malformed:truncated"),
        (5, "drop", "malformed:truncated"),
        (6, "drop", "malformed:version"),
    ]
    assert decisions[1] == {
        "type": "decision",
        "number": 2,
        "time_ns": 1_767_225_600_012_345_000,
        "verdict": "accept",
        "reason": "policy",
        "policy_id": "dns",
        "protocol": 17,
        "source_ip": "192.0.2.10",
        "source_port": 9,
        "destination_ip": "198.51.100.20",
        "destination_port": 53,
        "size_bytes": 60,
    }
    assert (decisions[4]["protocol"], decisions[4]["source_ip"]) == (-1, "")
    # A decision stands before the records that it caused.
    assert [line["type"] for line in lines[:4]] == ["decision", "flow", "decision", "flow"]


def test_decisions_about_icmp_name_type_and_code() -> None:
    result = judged(DEMO, "--json", "--decisions")
    decisions = [json.loads(line) for line in result.stdout.splitlines() if "decision" in line]
    assert [
        (d["protocol"], d["icmp_type"], d["icmp_code"]) for d in decisions if "icmp_type" in d
    ] == [(1, 8, 0), (1, 0, 0), (58, 128, 0), (58, 129, 0), (1, 13, 0), (1, 13, 0)]


def test_decisions_as_text() -> None:
    lines = judged(CAPTURES / "raw-odd.pcap", "--decisions").stdout.splitlines()
    decisions = [line.split() for line in lines if "#" in line]
    assert decisions[1] == (
        [
            "00:00:00.012345",
            "#2",
            "ACCEPT",
            "udp",
            "192.0.2.10:9",
            "->",
            "198.51.100.20:53",
            "policy",
            "policy=dns",
        ]
    )
    assert decisions[5] == [
        "00:00:00.061728",
        "#6",
        "DROP",
        "?",
        "?",
        "->",
        "?",
        "malformed:version",
    ]


def test_a_packet_of_nobody_is_unmatched(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('version = 1\nunmatched = "accept"\n', encoding="utf-8")
    result = run(CAPTURES / "ipv4.pcap", "--policy", policy, "--decisions", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["verdict"], line["reason"]) for line in lines] == [("accept", "unmatched")] * 2


def test_statistics() -> None:
    result = judged(CAPTURES / "raw-odd.pcap", "--stats")
    rows = dict(line.split() for line in result.stdout.splitlines()[-8:])
    assert rows["packets"] == "6"
    assert rows["flows_open"] == "2"
    last = json.loads(
        judged(CAPTURES / "raw-odd.pcap", "--stats", "--json").stdout.splitlines()[-1]
    )
    assert last["type"] == "statistics"
    assert last["counters"]["packets_dropped"] == 3
    assert last["flows_open"] == 2


def test_limit() -> None:
    assert "3 packets judged" in judged(DEMO, "--limit", 3).stderr
    assert run(DEMO, "--policy", POLICY, "--limit", 0).exit_code == ExitCode.USAGE


def test_standard_input() -> None:
    data = gzip.compress(DEMO.read_bytes())
    assert judged("-", stdin=data).stdout == judged(DEMO).stdout


@pytest.mark.parametrize(("asked", "colored"), [("always", True), ("never", False)])
def test_colour(asked: str, colored: bool, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--color", asked, "replay", str(DEMO), "--policy", str(POLICY), "--decisions"]
    assert main(words) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 55
    assert {"\x1b[" in line for line in lines} == {colored}


def test_damage_is_reported_after_all_that_was_judged(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(DEMO.read_bytes()[:-1])
    result = run(path, "--policy", POLICY)
    assert isinstance(result.exception, TruncatedCaptureError)
    assert len(result.stdout.splitlines()) == 15
    assert "39 frames read" in result.stderr


def test_ctrl_c_ends_with_what_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(CaptureReader):
        def __iter__(self) -> Iterator[CapturedPacket]:
            for packet in super().__iter__():
                if packet.number == 8:
                    raise KeyboardInterrupt
                yield packet

    monkeypatch.setattr("trireme_datapath.backends.replay.CaptureReader", Interrupted)
    result = run(DEMO, "--policy", POLICY)
    assert len(result.stdout.splitlines()) == 2
    assert "7 packets judged" in result.stderr
    assert result.exit_code != ExitCode.OK


def test_live_packets_are_shown_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    taken = TextIOWrapper.flush

    def flush(stream: TextIOWrapper) -> None:
        flushed.append(stream)
        taken(stream)

    monkeypatch.setattr("click.testing._NamedTextIOWrapper.flush", flush, raising=False)
    judged(DEMO)
    at_once = len(flushed)
    judged("-", stdin=DEMO.read_bytes())
    assert len(flushed) - at_once == at_once + 15


def test_what_is_no_capture_is_an_input_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello", encoding="utf-8")
    assert isinstance(run(path, "--policy", POLICY).exception, CaptureError)
    assert main(["replay", str(path), "--policy", str(POLICY)]) == ExitCode.INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "no capture, it begins with 68 65 6c 6c" in captured.err


def test_a_bad_policy_is_a_configuration_error(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("version = 2\n", encoding="utf-8")
    result = run(DEMO, "--policy", path)
    assert isinstance(result.exception, ConfigError)
    assert result.stdout == ""


def test_a_policy_is_needed() -> None:
    result = run(DEMO)
    assert result.exit_code == ExitCode.USAGE
    assert "--policy" in result.stderr


class Collected:
    """A collector that keeps batches, or refuses them."""

    def __init__(self, *, refuse: bool) -> None:
        self.refuse = refuse
        self.records: list[Record] = []

    def deliver(self, batch: Sequence[Record]) -> None:
        if self.refuse:
            raise PermanentDeliveryError("no such index")
        self.records.extend(batch)


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Collected]:
    def install(*, refuse: bool = False) -> Collected:
        collector = Collected(refuse=refuse)

        class Plugin:
            @hookimpl
            def trireme_register_collectors(self) -> list[CollectorSpec[msgspec.Struct]]:
                return [CollectorSpec(name="kept", factory=lambda _config, _context: collector)]

        known = registry.Registry(entry_points=[])
        known.register(Plugin(), name="kept")
        monkeypatch.setattr(registry, "Registry", lambda: known)
        return collector

    return install


def test_records_go_to_collectors_too(collected: Callable[..., Collected]) -> None:
    collector = collected()
    result = judged(DEMO, "--json", "--collector", "kept")
    assert len(collector.records) == len(result.stdout.splitlines()) == 15
    flows = [record for record in collector.records if isinstance(record, FlowRecord)]
    assert [flow.sequence for flow in flows] == list(range(1, 16))
    assert {flow.count for flow in flows} == {1}


def test_collectors_are_waited_for(
    collected: Callable[..., Collected], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RECORDS_BETWEEN_FLUSHES", 2)
    collector = collected()
    judged(CAPTURES / "raw-odd.pcap", "--collector", "kept")
    assert [type(record).__name__ for record in collector.records] == [
        "FlowRecord",
        "FlowRecord",
        "PacketReport",
        "PacketReport",
        "PacketReport",
    ]


def test_refused_records_are_an_output_error(collected: Callable[..., Collected]) -> None:
    collected(refuse=True)
    result = run(DEMO, "--policy", POLICY, "--collector", "kept")
    assert isinstance(result.exception, DeliveryError)
    assert "collector 'kept' took 0 of 15 records" in str(result.exception)
    assert "no such index" in str(result.exception)
    assert len(result.stdout.splitlines()) == 15
    assert "records_rejected" in result.stderr


def test_the_log_is_json_where_all_is(collected: Callable[..., Collected]) -> None:
    collected(refuse=True)
    result = run(DEMO, "--policy", POLICY, "--collector", "kept", "--json")
    assert len(result.stdout.splitlines()) == 15
    *logged, summary = [json.loads(line) for line in result.stderr.splitlines()]
    assert [(entry["event"], entry["collector"]) for entry in logged] == [
        ("batch_divided", "kept"),
        ("records_rejected", "kept"),
    ]
    assert summary["summary"]["records"] == 15


def test_an_unknown_collector(collected: Callable[..., Collected]) -> None:
    collected()
    result = run(DEMO, "--policy", POLICY, "--collector", "kafka")
    assert isinstance(result.exception, PluginError)
    assert result.stdout == ""


def test_options_of_a_collector_are_checked(collected: Callable[..., Collected]) -> None:
    collected()
    result = run(DEMO, "--policy", POLICY, "--collector", "kept:path=x")
    assert isinstance(result.exception, ConfigError)
    assert "collectors.kept.path" in str(result.exception)


def test_names_in_rules_are_learned_from_the_capture(tmp_path: Path) -> None:
    query = dns.message.make_query("api.example.com", "A", id=7)
    answer = dns.message.make_response(query)
    answer.answer.append(dns.rrset.from_text("api.example.com.", 60, "IN", "A", "192.0.2.7"))
    there, back = IP(src="10.0.0.2", dst="10.0.0.53"), IP(src="10.0.0.53", dst="10.0.0.2")
    packets = [
        there / UDP(sport=4000, dport=53) / query.to_wire(),
        back / UDP(sport=53, dport=4000) / answer.to_wire(),
        IP(src="10.0.0.2", dst="192.0.2.7") / TCP(sport=4001, dport=443, flags="S"),
        IP(src="192.0.2.7", dst="10.0.0.2") / TCP(sport=443, dport=4001, flags="RA"),
        IP(src="10.0.0.2", dst="192.0.2.8") / TCP(sport=4002, dport=443, flags="S"),
    ]
    records = [(number, 0, bytes(one)) for number, one in enumerate(packets)]
    capture, policy = tmp_path / "c.pcap", tmp_path / "p.toml"
    body = b"".join(
        struct.pack("<IIII", 1_700_000_000 + seconds, part, len(data), len(data)) + data
        for seconds, part, data in records
    )
    capture.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101) + body)
    policy.write_text(
        'version = 1\n[[unit]]\nid = "app"\nselect = { address = "10.0.0.2" }\n'
        '[[unit.egress]]\nid = "dns"\naction = "accept"\nto = "10.0.0.53"\n'
        '[[unit.egress]]\nid = "api"\naction = "accept"\nto = "dns:api.example.com"\n',
        encoding="utf-8",
    )
    result = run(capture, "--policy", policy, "--json")
    assert result.exception is None, result.output
    text = result.stdout
    for expected in ('"policy_id":"api"', '"name_lookup":"api.example.com."', '"reason":"reset"'):
        assert expected in text.replace(": ", ":"), expected
    assert '"policy_id":"default"' in text.replace(": ", ":")


def test_a_collector_that_cannot_write(tmp_path: Path) -> None:
    result = run(DEMO, "--policy", POLICY, "--collector", f"file:path={tmp_path}/none/a")
    assert isinstance(result.exception, TriremeError)
    assert "does not exist" in str(result.exception)
    assert exit_code_of(result.exception) == ExitCode.OUTPUT


def test_a_collector_without_an_option_that_it_needs() -> None:
    result = run(DEMO, "--policy", POLICY, "--collector", "file")
    assert str(result.exception).startswith("collectors.file.path: found nothing, expected")
