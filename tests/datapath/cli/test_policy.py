"""`trireme-collector policy` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from trireme_collector.cli.errors import exit_code_of
from trireme_collector.errors import ConfigError
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.cli.policy import policy

if TYPE_CHECKING:
    from click.testing import Result
    from pytest_mock import MockerFixture

SHOP = str(Path(__file__).parents[3] / "examples" / "policies" / "web-shop.toml")


@pytest.fixture(name="shop")
def fixture_shop(tmp_path: Path) -> str:
    file = tmp_path / "shop.toml"
    file.write_text(Path(SHOP).read_text())
    return str(file)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(policy, arguments)


def ask(file: str, source: str, destination: str, *more: str) -> Result:
    return run("explain", file, "--src", source, "--dst", destination, *more)


def test_check_counts_what_a_sound_file_has(shop: str) -> None:
    result = run("check", shop)
    assert result.exit_code == 0
    assert "policy web-shop is sound" in result.stdout
    assert "2 units, 10 rules, 1 peer, 3 networks" in result.stdout


def test_check_in_json(shop: str) -> None:
    fields = json.loads(run("check", shop, "--json").stdout)
    assert fields["version"] == 1
    assert fields["valid"] is True
    assert (fields["units"], fields["rules"], fields["name"]) == (2, 10, "web-shop")
    assert len(fields["revision"]) == 16


def test_check_names_the_marks_of_control_groups(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text('version = 1\n[[unit]]\nid = "u"\nselect = { cgroup = "a.slice" }\n')
    result = run("check", str(file))
    assert "control group a.slice is to set mark 0x1900000/0xfffc0000" in result.stdout


def test_check_raises_the_mistakes_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("version = 2\n")
    result = run("check", str(file))
    assert isinstance(result.exception, ConfigError)
    assert result.exception.problems[0].endswith(
        "p.toml:1:11: version: found integer 2, expected 1"
    )


def test_explain_says_which_rule_decides(shop: str) -> None:
    result = ask(shop, "198.51.100.9", "10.20.0.10", "--proto", "tcp", "--port", "22")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "198.51.100.9 -> 10.20.0.10 tcp port 22: accept"
    assert "  => web-admin: accept by 198.51.100.0/24; the first match of the accept table" in lines
    assert "  3 rules not matching; --all shows why" in lines
    assert "  policy_id          web-admin" in lines
    everything = ask(shop, "198.51.100.9", "10.20.0.10", "--proto", "6", "--port", "22", "--all")
    assert "   x web-public: accept; its ports are 80, 443, not 22" in everything.stdout


def test_explain_in_json(shop: str) -> None:
    result = ask(shop, "10.20.0.10", "10.20.0.11", "--proto", "tcp", "--port", "8000", "--json")
    fields = json.loads(result.stdout)
    assert fields["version"] == 1
    assert fields["action"] == "accept"
    assert [j["policy_id"] for j in fields["judgements"]] == ["web-to-app", "api-from-web"]
    assert fields["record"]["policy_id"] == "api-from-web"
    assert fields["record"]["source_id"] == "web"


def test_explain_can_answer_by_its_exit_code(shop: str) -> None:
    denied = ("--proto", "icmp", "--exit-code")
    assert ask(shop, "203.0.113.9", "10.20.0.10", *denied).exit_code == 10
    assert ask(shop, "203.0.113.9", "10.20.0.10", *denied[:2]).exit_code == 0
    assert ask(shop, "198.51.100.9", "10.20.0.10", *denied).exit_code == 0


def test_explain_takes_icmp_types_by_name(shop: str) -> None:
    ping = ask(shop, "2001:db8:51::1", "2001:db8:20::10", "--proto", "icmpv6", "--json")
    fields = json.loads(ping.stdout)
    assert (fields["icmp_type"], fields["action"]) == (128, "accept")
    reply = ("--proto", "icmp", "--icmp", "destination-unreachable/port-unreachable", "--json")
    fields = json.loads(ask(shop, "198.51.100.9", "10.20.0.10", *reply).stdout)
    assert (fields["icmp_type"], fields["icmp_code"], fields["action"]) == (3, 3, "reject")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1.2.3.4", "::1", "--proto", "tcp", "--port", "1"), "both IPv4 or both IPv6"),
        (("1.2.3.4", "1.2.3.0/24", "--proto", "tcp", "--port", "1"), "not a network"),
        (("1.2.3", "1.2.3.4", "--proto", "tcp", "--port", "1"), "--src"),
        (("1.2.3.4", "1.2.3.4", "--proto", "tpc", "--port", "1"), 'did you mean "tcp"?'),
        (("1.2.3.4", "1.2.3.4", "--proto", "any"), "one protocol"),
        (("1.2.3.4", "1.2.3.4", "--proto", "tcp"), "--port is needed"),
        (("1.2.3.4", "1.2.3.4", "--proto", "47", "--port", "1"), "has no ports"),
        (("1.2.3.4", "1.2.3.4", "--proto", "tcp", "--port", "65536"), "0<=x<=65535"),
        (
            ("1.2.3.4", "1.2.3.4", "--proto", "udp", "--port", "1", "--icmp", "8"),
            "only for --proto",
        ),
        (("1.2.3.4", "1.2.3.4", "--proto", "icmp", "--icmp", "ping"), "--icmp"),
        (("1.2.3.4", "1.2.3.4", "--proto", "icmp", "--direction", "egress"), "needs --unit"),
        (("1.2.3.4", "1.2.3.4", "--proto", "icmp", "--unit", "wbe"), "no unit 'wbe'"),
        (("1.2.3.4", "1.2.3.4", "--proto", "icmp", "--unit", "web"), "give the direction"),
    ],
)
def test_explain_refuses_questions_that_make_no_sense(
    shop: str, arguments: tuple[str, str, str], message: str
) -> None:
    result = ask(shop, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


CLUSTER = """\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
status: {podIP: 10.20.0.10}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: public, namespace: shop}
spec:
  podSelector: {}
  ingress: [{ports: [{port: 80}]}]
"""


def test_the_objects_of_a_cluster_are_a_policy(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    file = tmp_path / "cluster.yaml"
    file.write_text(CLUSTER)
    result = run("check", str(file), "--json")
    assert result.exit_code == 0, result.output
    assert {"units": 1, "rules": 3, "valid": True}.items() <= json.loads(result.stdout).items()
    result = ask(str(file), "192.0.2.1", "10.20.0.10", "--proto", "tcp", "--port", "80")
    assert "shop/public[0]" in result.stdout
    file.write_text(CLUSTER.replace("ingress", "ingres"))
    result = run("check", str(file))
    assert isinstance(result.exception, ConfigError)
    assert f"{file}:11:3: document[1].spec.ingres: found unknown key" in str(result.exception)


def test_a_cluster_without_the_package_names_the_extra(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    mocker.patch("importlib.import_module", side_effect=ImportError)
    file = tmp_path / "cluster.yaml"
    file.write_text(CLUSTER)
    result = run("check", str(file))
    assert isinstance(result.exception, ConfigError)
    assert exit_code_of(result.exception) is ExitCode.MISSING_EXTRA
