"""`conversations` and `convert` on files, from the words of the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from trireme_collector import ActionType, EndPoint, FlowRecord, UserRecord, cli, encode_json
from trireme_collector.exit_codes import ExitCode
from trireme_collector.netobserv import default_tracking_config

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = 1_700_000_000_000
ENDS = {"SrcAddr": "192.0.2.1", "SrcPort": 40000, "DstAddr": "192.0.2.2", "DstPort": 443}
FLOWS = [
    {**ENDS, "Proto": 6, "Bytes": 100, "Packets": 1, "TimeFlowEndMs": BEGIN},
    {**ENDS, "Proto": 6, "Bytes": 50, "Packets": 1, "TimeFlowEndMs": BEGIN + 60_000},
]
RECORD = FlowRecord(
    source=EndPoint(ip="192.0.2.1", port=40000),
    destination=EndPoint(ip="192.0.2.2", port=443),
    action=ActionType.ACCEPT,
    l4_protocol=6,
    count=1,
    source_packets=1,
    source_bytes=60,
    destination_packets=2,
    destination_bytes=120,
    end_time_ns=BEGIN * 1_000_000,
)


@pytest.fixture
def flows(tmp_path: Path) -> str:
    path = tmp_path / "flows.json"
    path.write_text("".join(json.dumps(flow) + "\n" for flow in FLOWS), encoding="utf-8")
    return str(path)


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[Any], str]:
    code = cli.main(list(words))
    printed = capfd.readouterr()
    return code, [json.loads(line) for line in printed.out.splitlines()], printed.err


def test_the_flow_logs_drive_the_clock(capfd: pytest.CaptureFixture[str], flows: str) -> None:
    code, records, said = run(capfd, "conversations", "--records", "endConnection", flows)
    assert code == ExitCode.OK
    assert [record["Bytes"] for record in records] == [100, 50]
    assert said == "2 flow logs, 2 records\n"


def test_the_wall_does_not(capfd: pytest.CaptureFixture[str], flows: str) -> None:
    words = ("conversations", "--clock", "wall", "--records", "endConnection", flows)
    assert [record["Bytes"] for record in run(capfd, *words)[1]] == [150]
    assert run(capfd, *words, "--no-flush")[1] == []


def test_a_configuration(capfd: pytest.CaptureFixture[str], flows: str, tmp_path: Path) -> None:
    path = tmp_path / "conntrack.json"
    config = default_tracking_config() | {"outputRecordTypes": ["newConnection"]}
    path.write_text(json.dumps(config), encoding="utf-8")
    _, records, _ = run(capfd, "conversations", "-c", str(path), flows)
    assert [record["_RecordType"] for record in records] == ["newConnection"] * 2
    toml = tmp_path / "conntrack.toml"
    toml.write_text('[[scheduling]]\nendConnectionTimeout = "x"\n', encoding="utf-8")
    code, _, said = run(capfd, "conversations", "-c", str(toml), flows)
    assert code == ExitCode.CONFIG
    assert "'x' is no duration" in said
    toml.write_text("x", encoding="utf-8")
    assert run(capfd, "conversations", "-c", str(toml), flows)[0] == ExitCode.CONFIG
    assert run(capfd, "conversations", "-c", str(tmp_path / "no"), flows)[0] == ExitCode.CONFIG


def test_a_summary_in_json(capfd: pytest.CaptureFixture[str], flows: str) -> None:
    words = ("--unknown-fields", "drop", "--records", "flowLog", "--json")
    _, records, said = run(capfd, "conversations", *words, flows)
    assert len(records) == 2
    summary = json.loads(said)["summary"]
    assert (summary["flow_logs"], summary["records"], summary["broken_lines"]) == (2, 2, 0)
    assert summary["metrics"]["conntrack_output_records|type=flowLog"] == 2


def test_names(capfd: pytest.CaptureFixture[str], flows: str, tmp_path: Path) -> None:
    path = tmp_path / "objects.toml"
    path.write_text('[[object]]\naddresses = ["192.0.2.2"]\nname = "db"\ntype = "Pod"\n', "utf-8")
    option = f"kubernetes-file:path={path}"
    _, records, _ = run(capfd, "conversations", "--enrich", option, flows)
    assert {record["DstK8S_Name"] for record in records} == {"db"}
    for wrong, code in (
        ("kubernetes-file", ExitCode.CONFIG),
        ("kubernetes-file:path", ExitCode.CONFIG),
        ("nobody", ExitCode.PLUGIN),
        ("file", ExitCode.PLUGIN),
    ):
        assert run(capfd, "conversations", "--enrich", wrong, flows)[0] == code


def test_records_of_our_own(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_bytes(encode_json(RECORD) + b"\n" + encode_json(UserRecord()) + b"\n{\n")
    words = ("conversations", "--from", "native", "--records", "endConnection")
    code, records, said = run(capfd, *words, str(path))
    assert code == ExitCode.OK
    assert [(r["Bytes_AB"], r["Bytes_BA"]) for r in records] == [(60, 120)]
    assert said == "2 flow logs, 1 records, 1 broken lines\n"


def test_another_source(capfd: pytest.CaptureFixture[str], flows: str) -> None:
    code, _, said = run(capfd, "conversations", "--from", "nothing", flows)
    assert code == ExitCode.PLUGIN
    assert "there is no source 'nothing'" in said


def test_nothing_but_broken_lines(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one\ntwo\n")
    for words in (["conversations"], ["convert", "--from", "netobserv", "--to", "native"]):
        code, _, said = run(capfd, *words, str(path))
        assert code == ExitCode.INPUT
        assert "none of 2 lines is a" in said
    assert run(capfd, "conversations", str(tmp_path / "none"))[0] == ExitCode.INPUT


def test_nothing_but_records_of_another_kind(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(encode_json(RECORD) + b"\n")
    code, _, said = run(capfd, "conversations", str(path))
    assert code == ExitCode.INPUT
    assert "1 flow logs, 0 records" in said
    assert "none of 1 flow logs has the fields that tell conversations apart; check --from" in said


def test_an_output_file(capfd: pytest.CaptureFixture[str], flows: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert run(capfd, "conversations", "-o", str(path), flows)[1] == []
    assert path.read_bytes().count(b"\n") == 4
    assert run(capfd, "conversations", "-o", str(tmp_path), flows)[0] == ExitCode.OUTPUT


def test_converting_there_and_back(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    native, foreign = tmp_path / "native", tmp_path / "foreign"
    native.write_bytes(encode_json(RECORD) + b"\n" + encode_json(UserRecord()) + b"\n")
    code, _, said = run(capfd, "convert", "--to", "netobserv", "-o", str(foreign), str(native))
    assert code == ExitCode.OK
    assert said == "2 read, 2 written, 1 without a place in the format\n"
    words = ("convert", "--from", "netobserv", "--to", "native")
    _, records, _ = run(capfd, *words, str(foreign))
    assert [record["bytes"] for record in records] == [60, 120]


def test_converting_to_text_and_to_the_original(
    capfd: pytest.CaptureFixture[str], flows: str
) -> None:
    assert cli.main(["convert", "--from", "netobserv", "--to", "text", flows]) == ExitCode.OK
    assert "192.0.2.1:40000" in capfd.readouterr().out
    words = ["convert", "--from", "netobserv", "--to", "netobserv-strict", flows]
    assert cli.main(words) == ExitCode.OK
    first = capfd.readouterr().out.splitlines()[0]
    assert list(json.loads(first)) == sorted(FLOWS[0])


def test_counting_what_was_wrong(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b'{"Bytes":[],"Mood":1,"Proto":6}\n{\n')
    words = ("convert", "--from", "netobserv", "--to", "netobserv", "--unknown-fields", "drop")
    _, records, said = run(capfd, *words, str(path))
    assert records == [{"Proto": 6}]
    assert said == "1 read, 1 written, 1 broken lines, 1 fields of a wrong type, 1 unknown fields\n"
    summary = json.loads(run(capfd, *words, "--json", str(path))[2])["summary"]
    assert summary["wrong_fields"] == {"Bytes": 1}
    assert summary["unknown_fields"] == {"Mood": 1}


@pytest.mark.parametrize("words", [(), ("--unknown-fields", "keep")])
def test_bad_lines_cost_themselves_alone(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    path = tmp_path / "x"
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    huge = b'{"SrcAddr":"' + b"1" * 2_000_000 + b'"}'
    wrong = json.dumps({**FLOWS[0], "Bytes": {}, "Packets": [1], "TimeFlowStartMs": True})
    bad = [b"{", b"[]", b"null", b"\xff\xfe", deep, huge, b'{"Proto":1e999}']
    path.write_bytes(b"\n".join([*bad, wrong.encode(), json.dumps(FLOWS[0]).encode()]) + b"\n")
    words = ("conversations", "--records", "endConnection", "--json", *words, str(path))
    code, (record,), said = run(capfd, *words)
    assert (code, record["numFlowLogs"]) == (ExitCode.OK, 2)
    assert record["Bytes"] == FLOWS[0]["Bytes"]
    summary = json.loads(said.splitlines()[-1])["summary"]
    assert (summary["flow_logs"], summary["broken_lines"]) == (2, len(bad))
    errors = {name: n for name, n in summary["metrics"].items() if "field=Bytes" in name and n}
    assert errors or summary["wrong_fields"]["Bytes"] == 1


@pytest.mark.parametrize(
    ("words", "mood", "counted"),
    [
        ((), {"Mood": 1}, None),
        (("--unknown-fields", "keep"), {"Mood": 1}, {"Mood": 1}),
        (("--unknown-fields", "drop"), {}, {"Mood": 1}),
    ],
)
def test_unknown_fields_of_flow_logs(
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
    mood: dict[str, int],
    counted: dict[str, int] | None,
) -> None:
    path = tmp_path / "x"
    path.write_text(json.dumps({**FLOWS[0], "Mood": 1, "Dscp": []}) + "\n", encoding="utf-8")
    words = ("conversations", "--records", "flowLog", "--json", *words, str(path))
    _, (record,), said = run(capfd, *words)
    assert {name: record[name] for name in record if name == "Mood"} == mood
    summary = json.loads(said)["summary"]
    assert summary.get("unknown_fields") == counted
    assert summary.get("wrong_fields") == (counted and {"Dscp": 1})


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--group", "g", "--from", "pcap", "t"], ExitCode.USAGE, "can be shared"),
        (["--group", "g", "--clock", "wall", "t"], ExitCode.USAGE, "could not be repeated"),
        (["--places", "t"], ExitCode.USAGE, "need --group"),
        (["--to", "kafka", "t"], ExitCode.USAGE, "need --group"),
        (["--from", "kafka", "t"], ExitCode.PLUGIN, "--group"),
        (["--group", "g", "--from", "kafka", "t"], ExitCode.CONFIG, "brokers"),
    ],
)
def test_words_for_groups(
    capfd: pytest.CaptureFixture[str], words: list[str], code: ExitCode, said: str
) -> None:
    found, records, text = run(capfd, "conversations", *words)
    assert (found, records) == (code, [])
    assert said in text
