"""`schema` publishes what a record in JSON may contain."""

from __future__ import annotations

import json

import pytest

from trireme_collector import RECORD_TYPES, cli, json_schema
from trireme_collector.exit_codes import ExitCode


def test_the_schema_of_all_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(json_schema()))


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema", "--json"]) == ExitCode.OK
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("kind", RECORD_TYPES)
def test_the_schema_of_one_kind(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    assert cli.main(["schema", kind]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    name = RECORD_TYPES[kind].__name__
    assert shown["$defs"][name]["properties"]["type"]["enum"] == [kind]


def test_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema", "--kinds", "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert [kind["kind"] for kind in shown["kinds"]] == list(RECORD_TYPES)
    assert cli.main(["schema", "--kinds"]) == ExitCode.OK
    assert "A flow that was judged" in capsys.readouterr().out


def test_an_unknown_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema", "flaw"]) == ExitCode.USAGE
    assert "the kinds are flow, container" in capsys.readouterr().err
