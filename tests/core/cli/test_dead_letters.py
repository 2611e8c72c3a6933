"""`dead-letters` shows what was not delivered, sends it again, and removes it when asked."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from trireme_collector import EndPoint, FlowRecord, PacketReport, cli
from trireme_collector.delivery import DeadLetterFile, dead_letter_path
from trireme_collector.exit_codes import ExitCode

Output = pytest.CaptureFixture[str]


def fill(directory: Path, name: str, reason: str, *numbers: int) -> Path:
    file = DeadLetterFile(str(directory), name, 1 << 30)
    file.open()
    records = [PacketReport(packet_id=number, source_ip="192.0.2.1") for number in numbers]
    assert not file.add(records, reason=reason, time_ns=1_767_323_045_000_006_000, attempts=2)
    return Path(file.place)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    fill(state, "archive", "PermanentDeliveryError: no", 1, 2)
    fill(state, "archive", "ValueError: \x1b[31moops", 3)
    fill(state, "remote", "PermanentDeliveryError: no", 4)
    return state


@pytest.fixture
def config(tmp_path: Path, state: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(
        f"""
        [datapath]
        policy = "policy.toml"
        [delivery]
        state_directory = "{state}"
        [collectors.archive]
        type = "file"
        path = "{tmp_path / "flows.jsonl"}"
        """,
        encoding="utf-8",
    )
    return path


def test_list(state: Path, capsys: Output) -> None:
    assert cli.main(["dead-letters", "list", "-d", str(state)]) == ExitCode.OK
    assert capsys.readouterr().out.splitlines() == [
        "COLLECTOR  LETTERS  REASON",
        "archive    2        PermanentDeliveryError: no",
        "archive    1        ValueError: \\x1b[31moops",
        "remote     1        PermanentDeliveryError: no",
    ]


def test_list_in_json(state: Path, config: Path, capsys: Output) -> None:
    words = ["dead-letters", "list", "-c", str(config), "--collector", "archive", "--json"]
    assert cli.main(words) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {
        "version": 1,
        "collectors": [
            {
                "collector": "archive",
                "file": str(state / "dead-letters" / "archive.jsonl"),
                "letters": 3,
                "damaged": 0,
                "oldest_time_ns": 1_767_323_045_000_006_000,
                "newest_time_ns": 1_767_323_045_000_006_000,
                "reasons": [
                    {"reason": "PermanentDeliveryError: no", "letters": 2},
                    {"reason": "ValueError: \x1b[31moops", "letters": 1},
                ],
            }
        ],
    }


def test_damaged_lines_are_counted(state: Path, capsys: Output) -> None:
    with dead_letter_path(str(state), "remote").open("ab") as file:
        file.write(b"nonsense\n")
    cli.main(["dead-letters", "list", "-d", str(state), "--collector", "remote"])
    assert capsys.readouterr().out.splitlines()[-1] == "remote     1        (damaged lines)"
    cli.main(["dead-letters", "show", "-d", str(state), "--collector", "remote"])
    assert capsys.readouterr().out.splitlines()[-1] == "remote  (a damaged line)"


@pytest.mark.parametrize("command", [["list"], ["show"], ["purge", "--yes"]])
def test_without_any(tmp_path: Path, capsys: Output, command: list[str]) -> None:
    assert cli.main(["dead-letters", *command, "-d", str(tmp_path)]) == ExitCode.OK
    assert capsys.readouterr().out == "There are no dead letters.\n"


def test_show(state: Path, capsys: Output) -> None:
    assert cli.main(["dead-letters", "show", "-d", str(state)]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert lines[0] == (
        "2026-01-02T03:04:05.000006Z  archive  2 attempts  PermanentDeliveryError: no"
    )
    assert lines[1].startswith("    ")
    assert "192.0.2.1" in lines[1]
    assert not any("\x1b" in line for line in lines)


def test_show_in_json_is_one_object_per_line(state: Path, capsys: Output) -> None:
    words = ["dead-letters", "show", "-d", str(state), "--limit", "2", "--json"]
    assert cli.main(words) == ExitCode.OK
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["version"], first["collector"], first["attempts"]) == (1, "archive", 2)
    assert [letter["record"]["packet_id"] for letter in (first, second)] == [1, 2]


def test_replay(state: Path, config: Path, tmp_path: Path, capsys: Output) -> None:
    words = ["dead-letters", "replay", "-c", str(config), "--collector", "archive"]
    assert cli.main(words) == ExitCode.OK
    assert capsys.readouterr().out.splitlines()[1].split() == ["archive", "3", "0", "0", "0"]
    lines = (tmp_path / "flows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["packet_id"] for line in lines] == [1, 2, 3]
    assert not dead_letter_path(str(state), "archive").exists()
    assert dead_letter_path(str(state), "remote").exists()


def test_replay_gives_flow_logs_their_names(tmp_path: Path) -> None:
    state, objects = tmp_path / "kept", tmp_path / "objects.toml"
    file = DeadLetterFile(str(state), "archive", 1 << 30)
    file.open()
    flow = FlowRecord(source=EndPoint(ip="192.0.2.1"), source_packets=1, l4_protocol=6)
    assert not file.add([flow], reason="no", time_ns=1, attempts=1)
    objects.write_text("[[object]]\naddresses = ['192.0.2.1']\nname = 'edge'\ntype = 'Node'\n")
    config = tmp_path / "names.toml"
    config.write_text(
        f"""
        [delivery]
        state_directory = "{state}"
        [enrichment.lookups.objects]
        type = "kubernetes-file"
        path = "{objects}"
        [collectors.archive]
        type = "file"
        path = "{tmp_path / "named.json"}"
        format = "netobserv"
        """,
        encoding="utf-8",
    )
    assert cli.main(["dead-letters", "replay", "-c", str(config)]) == ExitCode.OK
    (line,) = (tmp_path / "named.json").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["SrcK8S_Name"] == "edge"


def test_replay_leaves_what_has_no_collector(state: Path, config: Path, capsys: Output) -> None:
    assert cli.main(["dead-letters", "replay", "-c", str(config), "--json"]) == ExitCode.OUTPUT
    archive, remote = json.loads(capsys.readouterr().out)["collectors"]
    assert (archive["delivered"], archive["error"]) == (3, "")
    assert (remote["left"], remote["error"]) == (1, "the configuration has no such collector")
    assert dead_letter_path(str(state), "remote").exists()


def test_a_collector_that_cannot_be_opened_holds_up_no_other(
    state: Path, config: Path, tmp_path: Path, capsys: Output
) -> None:
    with config.open("a", encoding="utf-8") as file:
        file.write(f"[collectors.remote]\ntype = 'file'\npath = '{tmp_path}/sent.jsonl'\n")
    with (tmp_path / "flows.jsonl").open("w") as held:  # as an agent that runs does
        fcntl.flock(held, fcntl.LOCK_EX)
        code = cli.main(["dead-letters", "replay", "-c", str(config), "--json"])
    assert code == ExitCode.OUTPUT
    archive, remote = json.loads(capsys.readouterr().out)["collectors"]
    assert (archive["delivered"], archive["left"], remote["delivered"]) == (0, 3, 1)
    assert "another agent or collector writes to it" in archive["error"]
    assert not dead_letter_path(str(state), "remote").exists()


def test_purge(state: Path, capsys: Output) -> None:
    words = ["dead-letters", "purge", "-d", str(state), "--collector", "archive", "--yes"]
    assert cli.main(words) == ExitCode.OK
    assert capsys.readouterr().out == "3 dead letters were removed.\n"
    assert not dead_letter_path(str(state), "archive").exists()
    assert dead_letter_path(str(state), "remote").exists()


def test_purge_asks(state: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    asked: list[str] = []

    def refuse(prompt: str = "") -> str:
        asked.append(prompt)
        return "n"

    monkeypatch.setattr("click.termui.visible_prompt_func", refuse)
    assert cli.main(["dead-letters", "purge", "-d", str(state)]) == ExitCode.INTERRUPTED
    assert "4 dead letters of archive, remote" in capsys.readouterr().out + "".join(asked)
    assert dead_letter_path(str(state), "archive").exists()


def test_purge_in_json_does_not_ask(state: Path, capsys: Output) -> None:
    words = ["dead-letters", "purge", "-d", str(state), "--json"]
    assert cli.main(words) == ExitCode.USAGE
    assert cli.main([*words, "--yes"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"version": 1, "removed": 4}


def test_a_configuration_without_a_state_directory(tmp_path: Path, capsys: Output) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('[collectors.file]\npath = "x"\n', encoding="utf-8")
    assert cli.main(["dead-letters", "list", "-c", str(config)]) == ExitCode.CONFIG
    assert "no delivery.state_directory is set" in capsys.readouterr().err


def test_two_sources_are_one_too_many(state: Path, config: Path) -> None:
    words = ["dead-letters", "list", "-c", str(config), "-d", str(state)]
    assert cli.main(words) == ExitCode.USAGE


def test_a_state_directory_that_is_not_there(tmp_path: Path, capsys: Output) -> None:
    assert cli.main(["dead-letters", "list", "-d", str(tmp_path / "none")]) == ExitCode.USAGE
    assert "expected the state directory of an agent" in capsys.readouterr().err


def test_what_cannot_be_read_is_named(state: Path, capsys: Output) -> None:
    path = dead_letter_path(str(state), "remote")
    path.unlink()
    path.symlink_to(state)
    assert cli.main(["dead-letters", "list", "-d", str(state)]) == ExitCode.OUTPUT
    assert f"dead letters: {path} cannot be used" in capsys.readouterr().err
