"""`trireme-collector policy test` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from tests.datapath.testing.policies import SHOP
from trireme_collector import cli
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.cli.policy import policy

TESTS = """policy = "shop.toml"

[[test]]
name = "the office reads"
allow = "office -> web:80/tcp"

[[test]]
name = "the office logs in"
allow = ["office -> web:443/tcp", "office -> web:22/tcp"]
"""


@pytest.fixture(name="file")
def fixture_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "shop.toml").write_text(SHOP, "utf-8")
    (tmp_path / "shop-test.toml").write_text(TESTS, "utf-8")
    monkeypatch.chdir(tmp_path)
    return "shop-test.toml"


def run(*arguments: str, color: bool = False) -> tuple[int, str]:
    result = CliRunner().invoke(policy, ["test", *arguments], color=color)
    return result.exit_code, result.output


def test_what_fails_is_shown_with_its_place(file: str) -> None:
    code, output = run(file)
    lines = output.splitlines()
    assert code == ExitCode.FAILURE
    assert lines[0].startswith("shop-test.toml: shop.toml, revision ")
    assert lines[1:3] == ["  ok    the office reads", "  FAIL  the office logs in"]
    assert lines[3] == (
        "        shop-test.toml:9:35: office -> web:22/tcp: expected accept, got reject:"
        " the default, as no ingress rule of web decides, rejects it"
    )
    assert "             x http: accept; its ports are 80, 443, not 22" in lines
    assert lines[-1] == "2 tests of 3 cases, 1 failed"


def test_all_passed_is_success(file: str) -> None:
    assert run(file, "-k", "READS") == (
        ExitCode.OK,
        run(file, "--select", "reads")[1],
    )
    assert run(file, "-k", "reads")[1].splitlines()[-1] == "1 test of 1 case, all passed"


def test_nothing_chosen_is_a_wrong_command_line(file: str) -> None:
    code, output = run(file, "-k", "nobody")
    assert code == ExitCode.USAGE
    assert "no test has 'nobody' in its name" in output


def test_another_policy_can_be_tested(file: str) -> None:
    candidate = Path("candidate.toml")
    candidate.write_text(SHOP.replace("[80, 443]", "[22, 80, 443]"), "utf-8")
    assert run(file, "--policy", "candidate.toml")[0] == ExitCode.OK


def test_json_says_all_of_it(file: str) -> None:
    code, output = run(file, "--json")
    shown = json.loads(output)
    assert code == ExitCode.FAILURE
    assert (shown["version"], shown["passed"], shown["tests"], shown["failed"]) == (1, False, 2, 1)
    first, second = shown["files"][0]["tests"]
    assert (first["name"], first["passed"], first["line"]) == ("the office reads", True, 3)
    wrong = second["cases"][1]
    assert (wrong["flow"], wrong["passed"], wrong["line"]) == ("office -> web:22/tcp", False, 9)


def test_junit_is_written_too(file: str) -> None:
    code, _ = run(file, "--junit", "report.xml")
    assert code == ExitCode.FAILURE
    (suite,) = ElementTree.parse("report.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    good, bad = suite
    assert (good.get("name"), len(good)) == ("the office reads", 0)
    assert (bad.get("name"), bad.get("line")) == ("the office logs in", "7")
    assert bad[0].get("message", "").startswith("expected accept, got reject")
    assert "shop-test.toml:9:35" in (bad[0].text or "")


def test_a_report_that_cannot_be_written_is_an_error(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["policy", "test", file, "--junit", "nowhere/report.xml"]) == ExitCode.OUTPUT
    assert "nowhere/report.xml" in capsys.readouterr().err


def test_mistakes_of_all_files_are_told_at_once(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("one.toml").write_text('policy = "shop.toml"\n[[test]]\nnam = "x"\n', "utf-8")
    Path("two.toml").write_text('polcy = "shop.toml"\n', "utf-8")
    assert cli.main(["policy", "test", file, "one.toml", "two.toml"]) == ExitCode.CONFIG
    error = capsys.readouterr().err
    assert "one.toml:3:1: test[0].nam: found unknown key" in error
    assert "two.toml:1:1: polcy: found unknown key" in error


def test_several_files_are_one_result(file: str) -> None:
    code, output = run(file, file)
    assert code == ExitCode.FAILURE
    assert output.splitlines()[-1] == "4 tests of 6 cases, 2 failed"


def test_colour_is_used_where_it_is_wanted(file: str) -> None:
    _, output = run(file, color=True)
    assert "\x1b[32m" in output
    assert "\x1b[31m" in output


def test_what_a_name_brings_cannot_move_the_terminal(file: str) -> None:
    Path("nasty.toml").write_text(
        'policy = "shop.toml"\n[[test]]\nname = "a\\u001b[31m"\ndeny = "office -> web:80/tcp"\n',
        "utf-8",
    )
    code, output = run("nasty.toml", "--junit", "nasty.xml")
    assert code == ExitCode.FAILURE
    assert "a\\x1b[31m" in output
    assert "\x1b" not in output
    assert ElementTree.parse("nasty.xml").getroot()[0][0].get("name") == "a\ufffd[31m"
    del file
