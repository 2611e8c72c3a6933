"""The demo with real packets: as root, without root, with both backends, and interrupted."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import wait_for
from trireme_collector.exit_codes import ExitCode

NOBODY = 65534
PACKAGES = (
    *("trireme_collector", "trireme_datapath", "trireme_collector_file"),
    *("trireme_collector_syslog", "click", "msgspec", "pluggy", "structlog", "xxhash"),
)

pytestmark = [pytest.mark.live, pytest.mark.patient, pytest.mark.usefixtures("means")]

COMMAND = [
    *(sys.executable, "-P", "-c"),
    "import sys; from trireme_collector.cli import main; sys.exit(main(sys.argv[1:]))",
]


def demo(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401  those of subprocess.run
    return subprocess.run(
        [*COMMAND, "demo", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,
    )


def outcomes(shown: dict[str, Any]) -> set[tuple[str, bool, str]]:
    return {
        (tried["attempt"]["protocol"], tried["attempt"]["allowed"], tried["outcome"])
        for tried in shown["demo"]["attempts"]
    }


@pytest.mark.parametrize("backend", ["netlink", "nfqueue"])
def test_every_client_sees_what_the_policy_says(backend: str) -> None:
    done = demo("--json", "--backend", backend)
    assert done.returncode == ExitCode.OK, done.stderr
    shown = json.loads(done.stdout)
    assert shown["as_expected"]
    assert shown["demo"]["mode"] == "live"
    assert outcomes(shown) == {
        ("tcp", True, "connected"),
        ("tcp", False, "timed out"),
        ("udp", True, "answered"),
        ("udp", False, "timed out"),
        ("icmp", True, "answered"),
        ("icmp", False, "timed out"),
    }
    records = shown["demo"]["records"]
    assert [json.loads(line) for line in shown["demo"]["file_lines"]] == records
    assert len(shown["demo"]["syslog_messages"]) == len(records) == 16
    for tried, record in zip(shown["demo"]["attempts"], records, strict=True):
        attempt = tried["attempt"]
        assert record["destination"]["ip"] == attempt["address"]
        assert record["destination"]["port"] == attempt["port"]
        assert record["action"] == ("accept" if attempt["allowed"] else "reject")


def test_rejected_clients_are_refused_when_asked_for() -> None:
    done = demo("--json", "--refuse")
    assert done.returncode == ExitCode.OK, done.stderr
    rejected = {
        (protocol, seen)
        for protocol, allowed, seen in outcomes(json.loads(done.stdout))
        if not allowed
    }
    assert ("tcp", "refused") in rejected
    assert ("tcp", "timed out") not in rejected


def test_it_is_readable() -> None:
    done = demo()
    assert done.returncode == ExitCode.OK, done.stderr
    assert "client -> web tcp 80, IPv4               connected" in done.stdout
    assert "client -> web tcp 22, IPv6               timed out" in done.stdout
    assert "16 flows: 8 accepted, 8 rejected." in done.stdout
    assert "\x1b[" not in done.stdout


def test_it_works_without_root() -> None:
    """Run by nobody, from a copy of the packages: the tree may lie where nobody can look."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    assert python, "there is no interpreter that everybody may run"
    with tempfile.TemporaryDirectory() as name:
        site = Path(name)
        site.chmod(0o755)
        _copy_packages(site)
        done = subprocess.run(
            [python, *COMMAND[1:], "demo", "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": name, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )
    assert done.returncode == ExitCode.OK, done.stderr
    assert json.loads(done.stdout)["demo"]["mode"] == "live"


def _copy_packages(site: Path) -> None:
    """Copy what the demo imports, and the metadata by which it finds its plugins."""
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None, package
        assert spec.origin is not None, package
        origin = Path(spec.origin)
        if spec.submodule_search_locations:
            shutil.copytree(origin.parent, site / package, ignore=shutil.ignore_patterns("*.pyc"))
        else:
            shutil.copy(origin, site)
    installed = Path(str(importlib.metadata.distribution("trireme-collector").locate_file("")))
    found = [path for path in installed.glob("trireme_collector*-info") if path.is_dir()]
    assert found, f"{installed} has no metadata of the installed package"
    for metadata in found:
        shutil.copytree(metadata, site / metadata.name)


def test_without_iptables_it_replays(tmp_path: Path) -> None:
    for name in ("ip", "unshare", "nsenter", "cat"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    code = (
        "import sys, trireme_datapath.cli.demo as demo; demo._MORE_PATH = ();"
        " from trireme_collector.cli import main; sys.exit(main(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert done.returncode == ExitCode.OK, done.stderr
    assert "No real packets here: the program iptables-restore is not installed." in done.stdout
    assert "15 flows: 8 accepted, 7 rejected." in done.stdout


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    before = _keepers()
    process = subprocess.Popen(
        [*COMMAND, "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    while "client -> web tcp 22" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    assert wait_for(lambda: _keepers() == before)


def _keepers() -> int:
    """Count the network namespaces that any process is in."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(path.readlink())
        except OSError:
            continue
    return len(found)
