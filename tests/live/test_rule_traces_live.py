"""`ctl trace --iptables` on running agents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, CLIENT, SERVER, wait_for
from tests.live.test_control_live import ask, place
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from tests.live.test_run_live import Place

pytestmark = pytest.mark.live
__all__ = ["place"]


def records(place: Place, kind: str) -> list[dict[str, object]]:
    text = (place.directory / "flows.json").read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # the last line may still be written
    return [one for one in map(json.loads, whole.splitlines()) if one["type"] == kind]


@pytest.mark.parametrize("layout", ["single", "tree"])
def test_the_way_of_a_connection_is_told(place: Place, layout: str) -> None:
    place.configure(collectors=f'[processes]\nlayout = "{layout}"')
    place.start()
    words = ("--iptables", "--destination", SERVER[4], "--port", str(ALLOWED), "--seconds", "2")
    code, out, err = ask(place, "ctl", "trace", *words)
    assert code == ExitCode.OK, err
    assert "for 2 s" in out
    assert "-j TRACE" in place.lab.server.run(["iptables-save", "-t", "raw"])
    code, _, err = ask(place, "ctl", "trace", *words)
    assert code == ExitCode.FAILURE
    assert "already" in err
    assert place.lab.connect(4, ALLOWED) == "connected"
    assert wait_for(lambda: len(records(place, "iptables_trace")) >= 2, 5)
    steps = [step for one in records(place, "iptables_trace") for step in one["records"]]  # type: ignore[attr-defined]  # a list
    ours = [step for step in steps if step["chain"] == "TRIREME-IN"]
    assert {step["destination_ip"] for step in ours} == {SERVER[4]}
    assert {step["source_ip"] for step in ours} == {CLIENT[4]}
    assert {step["chain"] for step in steps} >= {"PREROUTING", "INPUT", "OUTPUT", "TRIREME-IN"}
    lines = [line for one in records(place, "trace") for line in one["lines"]]  # type: ignore[attr-defined]  # a list
    assert any("filter:TRIREME-IN:rule:" in line and "VERDICT=QUEUE" in line for line in lines)
    assert wait_for(lambda: "TRACE" not in place.lab.server.run(["iptables-save", "-t", "raw"]), 5)
    code, _, err = ask(place, "ctl", "trace", "--iptables")
    assert code == ExitCode.USAGE
    assert "name a source, a destination or a port" in err
