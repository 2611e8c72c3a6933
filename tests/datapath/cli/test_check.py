"""`check` lists everything that is wrong at once, and ends with the code of what is worst."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import sys
from typing import TYPE_CHECKING

import pytest
import structlog

from trireme_collector import cli
from trireme_collector.control import CommandTable, ControlConfig, ControlServer
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLICY = """
version = 1
[[unit]]
id = "web"
select.address = "198.51.100.20"
"""


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "policy.toml").write_text(POLICY, encoding="utf-8")
    return tmp_path / "agent.toml"


def config(file: Path, collectors: str = "", *, datapath: str = "") -> str:
    if not collectors:
        collectors = f"[collectors.file]\npath = '{file.parent / 'flows.json'}'"
    file.write_text(
        f'[datapath]\npolicy = "policy.toml"\n{datapath}\n{collectors}\n', encoding="utf-8"
    )
    return str(file)


def check(path: str, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.main(["check", "-c", path, *words])
    return code, capsys.readouterr().out


def test_a_good_configuration(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = check(config(file), capsys)
    assert code == ExitCode.OK
    assert out.startswith("ok  ")
    assert "policy.toml: 1 processing unit\n" in out
    assert "file (file)" in out


def test_look_ups_are_built_as_a_start_would(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = file.parent / "objects.toml"
    collectors = (
        f"[enrichment.lookups.objects]\ntype = 'kubernetes-file'\npath = '{objects}'\n"
        f"[collectors.file]\npath = '{file.parent / 'flows.json'}'\nformat = 'netobserv'"
    )
    code, out = check(config(file, collectors), capsys)
    assert code == ExitCode.CONFIG
    assert "enrichment.lookups.objects" in out
    objects.write_text("[[object]]\naddresses = ['192.0.2.1']\nname = 'a'\ntype = 'Node'\n")
    assert check(config(file, collectors), capsys)[0] == ExitCode.OK


def test_mistakes_of_configuration_and_policy_are_listed_together(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file.parent / "policy.toml").write_text(POLICY.replace("unit", "unti"), encoding="utf-8")
    path = config(file, "[collectors.file]\npth = 'x'", datapath="queue = 70000")
    code, out = check(path, capsys, "--json")
    assert code == ExitCode.CONFIG
    shown = json.loads(out)
    assert (shown["version"], shown["ok"], shown["exit_code"]) == (1, False, 3)
    subjects = [problem["subject"] for problem in shown["problems"]]
    assert subjects == ["configuration"] * 3 + ["policy"]
    assert "agent.toml:3:9: datapath.queue" in shown["problems"][0]["message"]
    assert "policy.toml:3:3: unti" in shown["problems"][3]["message"]


def test_a_policy_that_is_not_there(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(file)
    (file.parent / "policy.toml").unlink()
    code, out = check(path, capsys)
    assert code == ExitCode.CONFIG
    assert "policy.toml: cannot be read: no such file" in out


def test_a_configuration_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = check(str(tmp_path / "none.toml"), capsys)
    assert code == ExitCode.CONFIG
    assert out.count("cannot be read") == 1


def test_an_output_that_cannot_be_written(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(file, f"[collectors.file]\npath = '{file.parent}/none/flows.json'")
    code, out = check(path, capsys)
    assert code == ExitCode.OUTPUT
    assert f"{path}:4:1: collectors.file: collector 'file' cannot write to " in out
    assert "does not exist; create it" in out


def test_a_receiver_that_is_away_is_a_warning(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(file, f"[collectors.syslog]\naddress = '{file.parent}/log'")
    code, out = check(path, capsys)
    assert code == ExitCode.OK
    assert f"warning: {path}:4:1: collectors.syslog: collector 'syslog' cannot send" in out
    assert "is a syslog daemon running?" in out


def test_an_unknown_plugin(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = check(config(file, "[collectors.sislog]"), capsys)
    assert code == ExitCode.PLUGIN
    assert "there is no plugin 'sislog'" in out
    assert 'did you mean "syslog"?' in out


def test_a_missing_extra(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, package=None: None if name == "netfilterqueue" else find_spec(name, package),
    )
    code, out = check(config(file, datapath='backend = "nfqueue"'), capsys)
    assert code == ExitCode.MISSING_EXTRA
    assert "trireme-collector[nfqueue]" in out


def test_an_output_whose_library_is_missing(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, package=None: None if name == "httpx2" else find_spec(name, package),
    )
    path = config(file, "[collectors.http]\nurl = 'http://127.0.0.1:1'")
    code, out = check(path, capsys)
    assert code == ExitCode.MISSING_EXTRA
    assert f"{path}:4:1: collectors.http: collector 'http' needs the package httpx2" in out


def test_what_finds_units_is_built(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = check(config(file, "[discovery.host]\nevry_seconds = 2"), capsys)
    assert code == ExitCode.CONFIG
    assert ":5:1: discovery.host.evry_seconds: found unknown key" in out
    assert "did you mean every_seconds?" in out
    code, out = check(config(file, "[discovery.hst]"), capsys)
    assert code == ExitCode.PLUGIN
    assert ":4:12: discovery.hst.type: there is no plugin 'hst'" in out
    assert check(config(file, "[discovery.host]"), capsys)[0] == ExitCode.OK


def test_a_user_that_there_is_not(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = check(config(file, "[processes]\nuser = 'nobody-at-all'"), capsys)
    assert code == ExitCode.CONFIG
    assert "[processes] user: there is no user 'nobody-at-all'; make it first" in out


def test_a_file_to_which_the_running_agent_may_write(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(file, f"[collectors.file]\npath = '{file.parent}/flows.json'")
    with (file.parent / "flows.json").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, out = check(path, capsys)
    assert code == ExitCode.OK
    assert f"warning: {path}:4:1: collectors.file: collector 'file' cannot write to " in out
    assert "another agent or collector writes to it" in out


def test_two_collectors_with_one_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = [
        f"[collectors.{name}]\ntype = 'file'\npath = '{file.parent}/{path}.json'\n"
        for name, path in (("a", "flows"), ("b", "flows"), ("c", "others"))
    ]
    path = config(file, "".join(tables))
    code, out = check(path, capsys)
    assert code == ExitCode.OUTPUT
    assert f"error: {path}:7:1: collectors.b: collector 'b' cannot write to " in out
    assert "another agent or collector writes to it; give each a path of its own" in out
    assert "1 problem" in out


@pytest.mark.parametrize(
    ("datapath", "said"),
    [
        ("accept_mark = 5", "accept mark 0x5: not a single bit of 0xffffffff"),
        (
            "refuse = true\naccept_mark = 8\nrefuse_mark = 8",
            "mark 0x8 is to refuse and to accept",
        ),
        ("queue = 65535\n[processes]\nworkers = 2", "queues 65535 to 65536: not 0 to 65535"),
    ],
)
def test_what_no_kernel_rule_can_be_made_of(
    file: Path, capsys: pytest.CaptureFixture[str], datapath: str, said: str
) -> None:
    code, out = check(config(file, datapath=datapath), capsys)
    assert code == ExitCode.CONFIG
    assert f"error: datapath: {said}" in out


def test_secrets_are_not_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(file, "[collectors.file]\npath = 'x'\npassword = 'hunter2'")
    code, out = check(path, capsys, "--json")
    assert code == ExitCode.CONFIG
    assert "hunter2" not in out


METRICS = "[metrics]\nlisten = 'unix:{}'"


def test_the_address_of_the_metrics_is_tried(
    file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("prometheus_client")
    path = tmp_path / "m.sock"
    code, out = check(config(file, datapath=METRICS.format(path)), capsys)
    assert (code, out[:2]) == (ExitCode.OK, "ok")
    assert not path.exists()
    path.write_text("not a socket")
    code, out = check(config(file, datapath=METRICS.format(path)), capsys)
    # The running agent may be the one that has it.
    assert code == ExitCode.OK
    assert "warning: metrics: [metrics] cannot listen on unix:" in out


def test_metrics_without_their_extra_are_found(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    code, out = check(config(file, datapath=METRICS.format("/m.sock")), capsys)
    assert code == ExitCode.MISSING_EXTRA
    assert 'pip install "trireme-collector[metrics]"' in out


def test_a_control_socket_that_a_start_could_not_make(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = config(file) and file.read_text(encoding="utf-8")
    file.write_text(f"{text}[control]\npath = '{file.parent}/none/c'\n", encoding="utf-8")
    code, out = check(str(file), capsys)
    assert code == ExitCode.CONFIG
    assert "create the directory" in out
    file.write_text(f"{text}[control]\ngroup = 'nosuchgroup'\n", encoding="utf-8")
    assert "there is no group 'nosuchgroup'" in check(str(file), capsys)[1]
    file.write_text(f"{text}[control]\npath = 'relative'\n", encoding="utf-8")
    assert "control.path: " in check(str(file), capsys)[1]


def test_a_control_socket_that_the_running_agent_may_have(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file.parent / "c"
    text = config(file) and file.read_text(encoding="utf-8")
    file.write_text(f"{text}[control]\npath = '{path}'\n", encoding="utf-8")
    assert check(str(file), capsys)[0] == ExitCode.OK
    assert not path.exists()
    server = ControlServer(ControlConfig(path=str(path)), CommandTable())
    server.open()
    code, out = check(str(file), capsys)
    server.close()
    assert code == ExitCode.OK
    assert "warning: control: " in out


def test_the_observer_is_tried(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("grpc")
    directory = file.parent / "open"
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    collectors = "[collectors.console]\n[observer]\nlisten = ['unix:{0}']"
    code, out = check(config(file, collectors.format("open/s")), capsys)
    assert code == ExitCode.CONFIG
    assert "everybody can replace what lies in" in out
    code, out = check(config(file, collectors.format("s")), capsys)
    assert code == ExitCode.OK
    assert not (file.parent / "s").exists()
    code, out = check(config(file, collectors.format("s").replace("unix:", "[::1]:")), capsys)
    assert code == ExitCode.CONFIG


def test_the_observer_needs_its_extra(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc", "google", "google.protobuf"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in [name for name in sys.modules if "._grpc_" in name]:
        monkeypatch.delitem(sys.modules, name)
    collectors = "[collectors.console]\n[observer]\nlisten = ['unix:s']"
    code, out = check(config(file, collectors), capsys)
    assert code == ExitCode.MISSING_EXTRA
    assert "pip install 'trireme-collector[grpc]'" in out
