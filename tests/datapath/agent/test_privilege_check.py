"""The capability of the judging thread is looked at, whoever asks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from trireme_datapath.agent._privilege_check import PrivilegeCheck

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Name:\tx\nCapEff:\t0000000000001000\n", [True]),
        ("Name:\tx\nCapEff:\t0000000000002fff\n", [False]),
        ("Name:\tx\n", []),
        ("Name:\t\u00e9\n", []),
    ],
)
def test_the_capability_is_told(tmp_path: Path, text: str, found: list[bool]) -> None:
    check = PrivilegeCheck(tmp_path)
    assert list(check.health()) == []
    check.watch_this_thread()
    assert list(check.health()) == []  # the thread is gone
    place = tmp_path / str(threading.get_native_id())
    place.mkdir()
    (place / "status").write_text(text, encoding="utf-8")
    assert [one.ok for one in check.health()] == found
