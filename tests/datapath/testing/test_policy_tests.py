"""Tests of policies as data: what runs, what fails, and what is a mistake in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datapath.testing.policies import CLUSTER, SHOP
from trireme_collector.errors import ConfigError
from trireme_datapath.testing import run_policy_tests

EXAMPLE = Path(__file__).parents[3] / "examples" / "policies" / "tests" / "web-shop.toml"


@pytest.fixture(name="file")
def fixture_file(tmp_path: Path) -> Path:
    (tmp_path / "shop.toml").write_text(SHOP, "utf-8")
    return tmp_path / "shop-test.toml"


def write(file: Path, *tests: str, policy: str = "shop.toml") -> Path:
    text = f'policy = "{policy}"\n' + "".join(f"\n[[test]]\n{test}\n" for test in tests)
    file.write_text(text, "utf-8")
    return file


def mistakes(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        run_policy_tests(file)
    return [line.removeprefix(str(file)) for line in caught.value.problems]


def test_the_example_passes() -> None:
    report = run_policy_tests(EXAMPLE)
    assert report.passed
    assert len(report.tests) == 6


def test_every_flow_is_a_case_with_its_place(file: Path) -> None:
    write(
        file,
        'name = "office"\nallow = [\n  "office -> web:80/tcp",\n  "office -> web:22/tcp",\n]\n'
        'deny = "office -> web:443/tcp"',
    )
    report = run_policy_tests(file)
    (result,) = report.tests
    assert (report.passed, result.passed, result.name, result.line) == (False, False, "office", 3)
    assert [(case.passed, case.expected, case.line, case.column) for case in result.cases] == [
        (True, "accept", 6, 3),
        (False, "accept", 7, 3),
        (False, "reject", 9, 8),
    ]
    assert [case.rule for case in result.cases] == ["http", "default", "http"]
    assert result.cases[1].message.startswith("expected accept, got reject: the default")
    assert "   x http: accept; its ports are 80, 443, not 22" in result.cases[1].details
    assert result.cases[0].details == ()


def test_rule_and_reason_are_checked(file: Path) -> None:
    write(
        file,
        'name = "a"\nallow = "office -> web:80/tcp"\nby = "http"',
        'name = "b"\nallow = "office -> web:80/tcp"\nby = "ping"',
        'name = "c"\ndeny = "office -> web:22/tcp"\nreason = "policy"',
        'name = "d"\ndeny = "office -> web:22/tcp"\nreason = "context"',
        'name = "e"\ndeny = "8.8.8.8 -> 10.9.9.9:443/tcp"\nunit = "guest"\ndirection = "ingress"',
        'name = "f"\nallow = "10.9.9.9 -> 8.8.8.8:443/tcp"\nunit = "guest"\ndirection = "egress"',
    )
    report = run_policy_tests(file)
    assert [result.passed for result in report.tests] == [True, False, True, False, True, True]


def test_packets_are_a_case_of_their_own(file: Path) -> None:
    good = "tcp 192.0.2.1:1 > 10.0.0.2:80 S -> accept | accept http"
    write(
        file,
        f'name = "good"\npackets = """\n  {good}\n"""',
        'name = "bad"\npackets = "tcp 192.0.2.1:1 > 10.0.0.2:22 S -> accept"',
    )
    first, second = run_policy_tests(file).tests
    assert (first.passed, second.passed) == (True, False)
    assert second.cases[0].message.startswith("1 of 1 lines of the script went another way")
    assert second.cases[0].line == 11


def test_what_names_stand_for_stays_within_its_flow(file: Path) -> None:
    write(
        file,
        'name = "names"\nallow = "web -> a.example.com@203.0.113.5:443/tcp"\n'
        'deny = ["web -> 203.0.113.5:443/tcp", "web -> b.example.net@203.0.113.5:443/tcp"]\n'
        'packets = "tcp 10.0.0.2:5 > 203.0.113.5:443 S -> drop | *"',
    )
    assert run_policy_tests(file).passed


def test_tests_can_be_chosen_and_the_policy_exchanged(file: Path, tmp_path: Path) -> None:
    write(
        file,
        'name = "Office reads"\nallow = "office -> web:80/tcp"',
        'name = "others"\ndeny = "198.18.0.1 -> web:80/tcp"',
    )
    assert [result.name for result in run_policy_tests(file, select="OFFICE").tests] == [
        "Office reads"
    ]
    assert run_policy_tests(file, select="nobody").tests == ()
    other = tmp_path / "other.toml"
    other.write_text(SHOP.replace("[80, 443]", "[443]"), "utf-8")
    report = run_policy_tests(file, policy=other)
    assert [result.passed for result in report.tests] == [False, True]
    assert report.policy == str(other)


def test_a_policy_of_kubernetes(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "cluster.yaml").write_text(CLUSTER, "utf-8")
    write(
        file,
        'name = "public"\nallow = "198.18.0.1 -> shop/web:8080/tcp"\n'
        'deny = "203.0.113.9 -> shop/web:8080/tcp"',
        policy="cluster.yaml",
    )
    assert run_policy_tests(file).passed


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        ((), [":1:1: test: found nothing, expected an array"]),
        (('name = "a"',), [":3:1: test[0]: found a test of nothing, expected flows under allow"]),
        (('nam = "a"\nallow = "x"',), [":3:1: test[0].name: ", ":4:1: test[0].nam: found unknown"]),
        (('name = ""\nallow = "x"',), [":4:8: test[0].name: "]),
        (('name = "a"\nallow = 3',), [":5:9: test[0].allow: found"]),
        (
            ('name = "a"\nallow = "office -> web:80/tcp"\nreason = "policy"',),
            [':6:10: test[0].reason: found string "policy", expected flows under deny beside it'],
        ),
        (
            ('name = "a"\nallow = "office -> web:80/tcp"\ndirection = "ingress"',),
            [":6:13: test[0].direction: "],
        ),
        (
            ('name = "a"\nallow = "office -> web:80/tcp"\ndirection = "in"\nunit = "web"',),
            [':6:13: test[0].direction: found string "in", expected one of "egress", "ingress"'],
        ),
        (
            ('name = "a"\nallow = "office -> web:80/tcp"', 'name = "a"\ndeny = "x -> y:1/tcp"'),
            [':8:8: test[1].name: found string "a", expected a name of its own'],
        ),
        (
            (
                'name = "a"\nallow = ["ofice -> web:80/tcp",\n "office -> web/tcp"]',
                'name = "b"\npackets = "x"',
            ),
            [
                ":5:10: test[0].allow[0]: found 'ofice', expected an address, or a unit, a peer ",
                ":6:2: test[0].allow[1]: found 'office -> web/tcp', expected a port after the ser",
                ":10:11: test[1].packets: found line 1: expected ->",
            ],
        ),
        (
            ('name = "a"\nallow = "10.9.9.9 -> 8.8.8.8:443/tcp"\nunit = "guest"',),
            [":6:8: test[0].unit: found a unit that may be at either end, expected direction "],
        ),
        (
            ('name = "a"\nallow = "office -> web:80/tcp"\nunit = "wbe"',),
            [':6:8: test[0].unit: found string "wbe", expected a unit of the policy (did you me'],
        ),
    ],
)
def test_mistakes_in_the_file_are_listed_with_their_places(
    file: Path, tests: tuple[str, ...], expected: list[str]
) -> None:
    found = mistakes(write(file, *tests))
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_a_policy_that_cannot_be_read_is_an_error_of_the_policy(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml: cannot be read"):
        run_policy_tests(write(file, 'name = "a"\nallow = "x"', policy="nothing.toml"))
