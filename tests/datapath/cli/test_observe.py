"""`trireme-collector observe`: its options, a file, and an agent."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from trireme_collector.cli import main
from trireme_collector.exit_codes import ExitCode
from trireme_collector.formats import render_json_line
from trireme_collector.records import ActionType, Direction, EndPoint, EndPointType, FlowRecord
from trireme_datapath.cli._observe_filters import FILTER_FLAGS, FilterFlags
from trireme_datapath.cli.observe import _DEFAULT_SERVER, _TIME_FORMATS, observe
from trireme_datapath.observer import compile_filters, filter_fields
from trireme_datapath.observer._times import TIME_FORMATS
from trireme_datapath.observer.config import DEFAULT_SOCKET
from trireme_datapath.observer.printer import OutputForm

if TYPE_CHECKING:
    from pathlib import Path

START = 1_800_000_000_000_000_000


def record(port: int) -> FlowRecord:
    return FlowRecord(
        namespace="/shop",
        source=EndPoint(ip="192.0.2.1", port=port),
        destination=EndPoint(ip="192.0.2.2", port=443, id="web", type=EndPointType.PU),
        l4_protocol=6,
        action=ActionType.ACCEPT if port % 2 else ActionType.REJECT,
        drop_reason="" if port % 2 else "policy",
        policy_id="web-in" if port % 2 else "default",
        direction=Direction.INGRESS,
        start_time_ns=START,
        end_time_ns=START + port * 1_000_000_000,
    )


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "flows.jsonl"
    path.write_bytes(b"".join(render_json_line(record(port)) for port in range(1, 5)))
    return str(path)


def run(*words: str) -> Result:
    return CliRunner().invoke(observe, words, prog_name="observe")


def printed(*words: str) -> list[str]:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_a_file_is_printed(log: str) -> None:
    lines = printed("--input-file", log)
    assert lines[0] == (
        "Jan 15 08:00:01.000: 192.0.2.1:1 (world) -> /shop/web:443 (unknown)"
        " policy-verdict:none INGRESS ALLOWED (TCP)"
    )
    assert [line.rpartition(" (")[0].rpartition(" ")[2] for line in lines] == [
        *("ALLOWED", "DENIED", "DROPPED", "ALLOWED", "DENIED", "DROPPED")
    ]
    assert lines[2] == (
        "Jan 15 08:00:02.000: 192.0.2.1:2 (world) <> /shop/web:443 (unknown)"
        " Policy denied DROPPED (TCP)"
    )


def test_policies_have_names_for_those_who_ask(log: str) -> None:
    lines = printed("--input-file", log, "--print-policy-names")
    words = [line.partition(" INGRESS ")[2] for line in lines]
    assert words[:3] == ["ALLOWED BY web-in (TriremePolicy) (TCP)", "DENIED (TCP)", ""]
    assert "BY" not in "".join(printed("--input-file", log))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--last", "2"], [4, 4]),
        (["--first", "2"], [1, 2]),
        (["--all"], [1, 2, 2, 3, 4, 4]),
        (["--verdict", "dropped"], [2, 2, 4, 4]),
        (["--not", "--verdict", "DROPPED"], [1, 3]),
        (["--port", "3"], [3]),
        (["--from-port", "443"], []),
        (["--to-port", "443", "--not", "--port", "1"], [2, 2, 3, 4, 4]),
        (["--port", "1", "--port", "2", "--verdict", "DROPPED"], [2, 2]),
        (["--ip", "192.0.2.0/31", "--protocol", "tcp"], [1, 2, 2, 3, 4, 4]),
        (["--namespace", "shop"], [1, 2, 2, 3, 4, 4]),
        (["-n", "other"], []),
        (["-A"], [1, 2, 2, 3, 4, 4]),
        (["--from-all-namespaces"], []),
        (["--to-pod", "shop/we"], [1, 2, 2, 3, 4, 4]),
        (["--type", "policy-verdict", "-4"], [1, 2, 3, 4]),
        (["-t", "trace:to-stack"], []),
        (["-t", "drop"], [2, 4]),
        (["-t", "drop:133", "--verdict", "DROPPED", "--to-port", "443"], [2, 4]),
        (["-t", "drop:134"], []),
        (["-t", "drop", "-t", "policy-verdict", "--not", "--port", "4"], [1, 2, 2, 3]),
        (["--not", "-6", "--traffic-direction", "ingress"], [1, 2, 2, 3, 4, 4]),
        (["--identity", "world", "--reply", "false"], [1, 2, 2, 3, 4, 4]),
        (["--drop-reason-desc", "POLICY_DENIED"], [2, 2, 4, 4]),
        (["--allowlist", '{"source_port":["4"]}'], [4, 4]),
        (["--denylist", '{"source_port":["4"]}'], [1, 2, 2, 3]),
        (["--since", "2027-01-15T08:00:03Z"], [3, 4, 4]),
        (["--until", "2027-01-15T08:00:03Z", "--first", "9"], [1, 2, 2, 3]),
        (["--until", "1s"], []),
    ],
)
def test_what_is_chosen(log: str, words: list[str], expected: list[int]) -> None:
    lines = printed("--input-file", log, "-o", "json", *words)
    flows = [json.loads(line)["flow"] for line in lines]
    assert [flow["l4"]["TCP"]["source_port"] for flow in flows] == expected


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--first", "1", "--last", "1"], "--first and --last exclude each other"),
        (["--first", "1", "--all"], "--first and --all"),
        (["--first", "1", "--follow"], "--first and --follow"),
        (["--last", "1", "--all"], "--last and --all"),
        (["-f", "--input-file", "-"], "--follow and --input-file"),
        (["-f", "-o", "table"], "Columns cannot be aligned"),
        (["--field-mask", "verdict"], "--field-mask needs --output json"),
        (["--since", "yesterday"], "found 'yesterday'"),
        (["--not"], "trailing --not"),
        (["--not", "--not", "--ip", "::1"], "consecutive --not"),
        (["--ip", "x"], 'invalid IP address in filter: "x"'),
        (["--verdict", "maybe"], "'MAYBE', which is no flow.Verdict"),
        (["--type", "drops"], "--type: unable to parse type 'drops'"),
        (["--type", "trace:nowhere"], "sub-type 'nowhere'"),
        (["--tcp-flags", "syn,x"], "unknown tcp flag: X"),
        (["--ip-version", "5"], "expected none, v4 or v6"),
        (["--traffic-direction", "up"], "invalid traffic direction"),
        (["--identity", "me"], "invalid security identity"),
        (["--http-header", "x"], "expected name:value"),
        (["--reply", "x"], "expected true or false"),
        (["--allowlist", "{"], "truncated"),
        (["--allowlist", '{"x":1}'], "no field 'x'"),
        (["--input-file", "-", "--last", "2000000"], "at most 1000000"),
        (["--server", "example.org"], "expected unix:///PATH or HOST:PORT"),
        (["-o", "json", "--field-mask", "x"], "invalid fieldmask"),
    ],
)
def test_what_is_refused(words: list[str], complaint: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())


def test_a_flag_about_either_side_makes_two_filters() -> None:
    lines = printed(
        "--port", "53", "--verdict", "DROPPED", "--not", "--ip", "::1", "--print-raw-filters"
    )
    assert lines == [
        "allowlist:",
        """- '{"verdict":["DROPPED"],"source_port":["53"]}'""",
        """- '{"verdict":["DROPPED"],"destination_port":["53"]}'""",
        "denylist:",
        """- '{"source_ip":["::1"]}'""",
        """- '{"destination_ip":["::1"]}'""",
    ]


@pytest.mark.parametrize("name", FILTER_FLAGS)
def test_every_flag_makes_a_filter(name: str) -> None:
    values = {
        "snat-ip": "::1",
        "ip-version": "v6",
        "tcp-flags": "syn",
        "verdict": "DROPPED",
        "drop-reason-desc": "POLICY_DENIED",
        "type": "drop:133",
        "traffic-direction": "egress",
        "reply": "true",
        "http-status": "404",
        "http-header": "a:b",
        "protocol": "tcp",
    }
    suffixes = {"ip": "::1", "port": "53", "identity": "2"}
    flags = FilterFlags()
    flags.put(name, values.get(name, suffixes.get(name.rpartition("-")[2], "x")))
    allow, deny = flags.filters()
    assert deny == ()
    assert 1 <= len(allow) <= 2
    assert all(filter_fields(one) for one in allow)
    assert compile_filters(allow) is not None


def test_namespaces_stand_before_names() -> None:
    lines = printed("--namespace", "a", "--namespace", "b", "--pod", "x", "--print-raw-filters")
    assert lines[1:] == [
        """- '{"source_pod":["a/x","b/x"]}'""",
        """- '{"destination_pod":["a/x","b/x"]}'""",
    ]


def test_forms(log: str) -> None:
    assert printed("--input-file", log, "-o", "table")[0].startswith("TIMESTAMP   ")
    assert printed("--input-file", log, "-o", "dict")[1].endswith("SOURCE: 192.0.2.1:1")
    assert json.loads(printed("--input-file", log, "--json")[0])["flow"]["verdict"] == "FORWARDED"
    assert "192.0.2.2:443" in printed("--input-file", log, "--numeric")[0]
    assert "\x1b[32mALLOWED\x1b[0m" in printed("--input-file", log, "--color", "always")[0]
    assert "\x1b" not in printed("--input-file", log)[0]
    assert printed("--input-file", log, "--time-format", "rfc3339")[0].startswith("2027-01-15T08")


def test_what_is_printed_can_be_read_again(log: str, tmp_path: Path) -> None:
    first = run("--input-file", log, "-o", "json").stdout
    again = tmp_path / "again.jsonl"
    again.write_text(first)
    assert run("--input-file", str(again), "-o", "json").stdout == first


def test_broken_lines_are_told_of(log: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copy(log, broken)
    with broken.open("ab") as file:
        file.write(b"x\n")
    assert "broken lines: 1" in run("--input-file", str(broken)).stderr
    assert run("--input-file", str(broken), "-s").stderr == ""


def test_a_file_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.write_text("x\n\ny\n")
    assert main(["observe", "--input-file", str(other)]) == ExitCode.INPUT
    assert "none of 2 lines is a record or a flow" in capsys.readouterr().err
    other.write_text("\n")
    assert main(["observe", "--input-file", str(other)]) == ExitCode.OK


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["observe", "--input-file", f"{tmp_path}/none"]) == ExitCode.INPUT
    assert "cannot be read" in capsys.readouterr().err


def test_constants_are_those_of_the_library() -> None:
    assert f"unix://{DEFAULT_SOCKET}" == _DEFAULT_SERVER
    assert set(_TIME_FORMATS) == set(TIME_FORMATS)
    form = next(option for option in observe.params if option.name == "form")
    assert set(getattr(form.type, "choices", ())) >= {one.value for one in OutputForm}


def test_nobody_listens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("grpc")
    code = main(["observe", "--server", f"unix://{tmp_path}/none"])
    assert code == ExitCode.INPUT
    assert "cannot be reached" in capsys.readouterr().err


def test_an_agent_is_asked(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    from trireme_collector.testing import MemoryCollector  # noqa: PLC0415
    from trireme_datapath.agent._services import AgentServices  # noqa: PLC0415
    from trireme_datapath.observer.config import ObserverConfig  # noqa: PLC0415

    place = f"unix://{tmp_path}/s"
    services = AgentServices(ObserverConfig(listen=[place]), node_name="host1")
    services.open()
    memory = MemoryCollector()
    collector = services.before(memory)
    for port in range(1, 31):
        collector.collect_flow_event(record(port))
    assert len(memory.records) == 30
    try:
        assert len(printed("--server", place)) == 20
        assert len(printed("--server", place, "--all")) == 45
        lines = printed("--server", place, "--last", "1", "--print-node-name")
        assert lines == [
            (
                "Jan 15 08:00:30.000 [host1]: 192.0.2.1:30 (world) <> /shop/web:443 (unknown)"
                " Policy denied DROPPED (TCP)"
            )
        ]
        words = ("-o", "json", "--field-mask", "verdict", "--port", "7")
        assert printed("--server", place, *words) == ['{"flow":{"verdict":"FORWARDED"}}']
    finally:
        services.close()
