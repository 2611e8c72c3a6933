"""Units that a running agent finds on its host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import wait_for
from tests.live.test_control_live import place
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from tests.live.test_run_live import Place

pytestmark = pytest.mark.live
__all__ = ["place"]

TABLES = """
[processes]
layout = "{layout}"
[discovery.host]
every_seconds = 0.1
namespace_directories = ["{names}"]
"""


def told(place: Place) -> list[tuple[str, str]]:
    text = (place.directory / "flows.json").read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    return [(one["context_id"], one["event"]) for one in records if one["type"] == "container"]


@pytest.mark.parametrize("layout", ["single", "tree"])
def test_namespaces_that_come_and_go_are_told_of(place: Place, layout: str) -> None:
    names = place.directory / "netns"
    names.mkdir()
    place.configure(collectors=TABLES.format(layout=layout, names=names))
    agent = place.start()
    (names / "shop").touch()
    assert wait_for(lambda: ("netns:shop", "ignore") in told(place), 5), told(place)
    (names / "shop").unlink()
    assert wait_for(lambda: ("netns:shop", "delete") in told(place), 5), told(place)
    assert told(place) == [
        ("ctx-server", "start"),
        ("netns:shop", "ignore"),
        ("netns:shop", "delete"),
    ]
    assert agent.end()[0] == ExitCode.OK
