"""Units and users told of over the control socket of running agents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import wait_for
from tests.live.test_control_live import ask, place
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from tests.live.test_run_live import Place

pytestmark = pytest.mark.live
__all__ = ["place"]


def records(place: Place, kind: str) -> list[dict[str, object]]:
    text = (place.directory / "flows.json").read_text(encoding="utf-8")
    return [one for one in map(json.loads, text.splitlines()) if one["type"] == kind]


@pytest.mark.parametrize("layout", ["single", "tree"])
def test_what_is_told_becomes_records(place: Place, layout: str) -> None:
    place.configure(collectors=f'[processes]\nlayout = "{layout}"')
    place.start()

    def tell(*words: str) -> str:
        code, out, err = ask(place, "ctl", *words)
        assert code == ExitCode.OK, err
        return out.strip()

    assert tell("unit", "update", "ctx-server", "--address", "192.0.2.2") == "reported: update"
    assert tell("unit", "update", "ctx-server", "--address", "192.0.2.2") == "nothing new"
    assert tell("unit", "start", "other", "--tag", "a=b") == "reported: ignore"
    assert tell("unit", "delete", "other") == "reported: delete"
    user = tell("user", "--claim", "name=eve")
    assert tell("user", "--claim", "name=eve") == user
    expected = [
        ("ctx-server", "start"),
        ("ctx-server", "update"),
        ("other", "ignore"),
        ("other", "delete"),
    ]
    assert wait_for(lambda: len(records(place, "user")) == 1, 5)
    found = [(one["context_id"], one["event"]) for one in records(place, "container")]
    assert found == expected
    assert records(place, "user")[0]["id"] == user
