"""The command is found by the program, and asks the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from trireme_collector import ActionType, EndPoint, FlowRecord, Registry, build_pipeline, cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = str(tmp_path / "flows.db")
    client = EndPoint(ip="192.0.2.1")
    with build_pipeline({"sqlite": {"path": path}}, Registry()) as pipeline:
        for port, action, times in (
            (443, ActionType.ACCEPT, 3),
            (22, ActionType.REJECT, 2),
            (23, ActionType.REJECT, 1),
        ):
            server = EndPoint(ip="198.51.100.7\x1b[31m", port=port)
            for _ in range(times):
                record = FlowRecord(source=client, destination=server, action=action, count=1)
                pipeline.collect_flow_event(record)
    return path


def test_it_lists_most_first(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sqlite-flows", database]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:5] == ["FLOWS", "ACTION", "SOURCE", "DESTINATION", "PORT"]
    assert [row.split()[4] for row in rows] == ["443", "22", "23"]
    assert "\x1b" not in "".join(rows)


def test_it_prints_json(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sqlite-flows", database, "--action", "reject", "--limit", "1", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["flows"]
    assert (found["flows"], found["action"], found["destination_port"]) == (2, "reject", 22)


def test_a_wrong_path_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sqlite-flows", str(tmp_path / "none.db")]) == 3
    assert "cannot be read: unable to open database file" in capsys.readouterr().err
