"""Connections that come to nothing, on running agents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, POLICY, wait_for
from tests.live.test_control_live import place
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from tests.live.test_run_live import Place

pytestmark = [pytest.mark.live, pytest.mark.patient]
__all__ = ["place"]

REFUSED, SILENT = 8090, 8091


def exceptions(place: Place) -> list[tuple[object, ...]]:
    text = (place.directory / "flows.json").read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    return sorted(
        (one["destination_port"], one["reason"], one["state"], one["value"] >= 1, one["puid"])
        for one in records
        if one["type"] == "connection_exception"
    )


@pytest.mark.parametrize("mode", ["new", "all"])
def test_refusals_and_silence_are_told(place: Place, mode: str) -> None:
    server = place.lab.server
    for name in ("tcp_timeout_close", "tcp_timeout_syn_sent"):
        server.set_kernel(f"net/netfilter/nf_conntrack_{name}", "1")
    # What the server says from this port is lost before the kernel tracks it.
    silence = ["iptables", "-t", "raw", "-A", "OUTPUT", "-p", "tcp", "--sport", str(SILENT)]
    server.run([*silence, "-j", "DROP"])
    place.write_policy(POLICY.replace("[8080]", f"[8080, {REFUSED}, {SILENT}]"))
    # The hooks are the last line of the table of rules.
    text = (place.directory / "agent.toml").read_text(encoding="utf-8")
    text = text.replace('hooks = ["input"]', f'hooks = ["input", "output"]\nmode = "{mode}"')
    (place.directory / "agent.toml").write_text(text, encoding="utf-8")
    agent = place.start()
    assert place.lab.connect(4, ALLOWED) == "connected"
    assert place.lab.connect(4, REFUSED) == "refused"
    assert place.lab.connect(4, SILENT) == "timed out"
    expected = [
        (REFUSED, "reset", "TCPSynSend", True, "server"),
        (SILENT, "expired", "TCPSynSend", True, "server"),
    ]
    # The end of the one that got no answer is seen with the next list.
    assert wait_for(lambda: exceptions(place) == expected, 25), exceptions(place)
    agent.process.terminate()
    assert agent.wait()[0] == ExitCode.OK
