"""`ctl ping` on running agents, in one process and as a tree."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import CLIENT, SERVER, wait_for
from tests.live.test_control_live import ask, place
from tests.live.test_processes_live import Tree, tree
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from tests.live.test_run_live import Place

pytestmark = pytest.mark.live
__all__ = ["place", "tree"]

OPEN, CLOSED, FORBIDDEN = 9001, 9002, 9003
POLICY = f"""
version = 1
[[unit]]
id = "server"
context = "ctx-server"
select = {{ address = ["192.0.2.2", "2001:db8::2"] }}
[[unit.egress]]
id = "some"
action = "accept"
to = "any"
protocol = "tcp"
ports = "{OPEN}-{CLOSED}"
"""


def check(place: Place) -> None:
    listener = place.lab.open_socket(place.lab.client, 4, socket.SOCK_STREAM)
    listener.bind((CLIENT[4], OPEN))
    listener.listen()

    def ping(port: int, *words: str) -> tuple[int, str, float]:
        code, out, err = ask(place, "ctl", "ping", CLIENT[4], str(port), "--json", *words)
        assert out, err
        result = json.loads(out)
        assert result["unit"] == "server"
        (probe,) = result["probes"]
        assert probe["flow_tuple"].startswith(f"{SERVER[4]}:{CLIENT[4]}:")
        return code, probe["error"], probe["latency_ns"]

    code, error, latency = ping(OPEN, "--unit", "server")
    assert (code, error, latency > 0) == (ExitCode.OK, "", True)
    code, error, _ = ping(CLOSED, "--unit", "ctx-server")
    assert (code, error) == (ExitCode.OK, "refused")
    code, error, latency = ping(FORBIDDEN, "--source", SERVER[4], "--wait", "0.3")
    assert (code, error, latency) == (ExitCode.DENIED, "timeout", 0)

    def seen() -> list[tuple[str, bool, object]]:
        text = (place.directory / "flows.json").read_text(encoding="utf-8")
        records = [json.loads(line) for line in text.splitlines()]
        return [
            (one["stage"], bool(one["latency"]), one.get("error"))
            for one in records
            if one["type"] == "ping"
        ]

    expected = [
        *(("origin", False, None), ("reply", True, None)),
        *(("origin", False, None), ("reply", True, "refused")),
        *(("origin", False, None), ("reply", False, "timeout")),
    ]
    assert wait_for(lambda: seen() == expected, 5), seen()
    code, _, err = ask(place, "ctl", "ping", "example.com", "80")
    assert code == ExitCode.CONFIG
    assert "no address" in err


def egress_too(place: Place) -> None:
    path = place.directory / "agent.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('["input"]', '["input", "output"]'), encoding="utf-8")
    place.write_policy(POLICY)


def test_an_agent_of_one_process(place: Place) -> None:
    place.configure(collectors='[processes]\nlayout = "single"')
    egress_too(place)
    place.start()
    check(place)


def test_a_tree_of_processes(tree: Tree) -> None:
    tree.set_up(mode="new")
    egress_too(tree)
    tree.start()
    check(tree)
